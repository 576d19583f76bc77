"""What `dvc repro` would run, all of it: DVC's own --dry shows the stages whose inputs have changed by now.

A stage runs if its parameters, its code or an input from outside have changed, or if it depends on what a
stage that runs leaves. Three edges tell more than that: what split leaves for a step depends on the classes
up to that step alone, a fingerprint on the code of its stage, and the side of images on the backbone. What
DVC's cache holds of earlier runs is restored when its turn comes, so that less may run, never more.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from der.common.errors import UserError
from der.estimator.choices import backbone_side
from der.project.chain import check_chain
from der.project.changes import value_at
from der.project.expanded_graph import Node, expand_graph, producers
from der.project.fingerprint_files import find_new, read_code
from der.project.input_side import holds_side
from der.project.lockfile import Ran, changes_since, read_lock, read_outputs
from der.project.markers import is_unused
from der.project.objects import find_cache, find_object
from der.project.params import parse_section
from der.project.paths import FINGERPRINTS, INPUT, PARAMS, TASKS
from der.project.planning import planned_steps
from der.project.tasks import read_task
from der.settings.experiment import Settings

Identities = dict[str, str]  # stages that run, in their order -> what each would compute, as a hash


class Workspace(NamedTuple):
    """What there is before anything runs."""

    graph: dict[str, Node]
    ran: Ran
    new_code: set[str]  # stages by the names of their scripts
    changed: set[str]  # stages of which an input from outside has changed, or whose outputs are lost


def read_workspace() -> Workspace:
    """Look at the repository, which DVC does in part; raises UserError if that fails."""
    graph = expand_graph()
    scripts = sorted({name.partition("@")[0] for name in graph} - {"check"})
    new_code = set(find_new(read_code(scripts)))
    return Workspace(graph, read_lock(), new_code, {*_changed_outside(graph), *_lost(graph)})


def plan_row(workspace: Workspace, parameters: dict[str, Any], *, rewritten: bool) -> Identities:
    """What runs with ``parameters``, all of params.yaml, which is ``rewritten`` with them or stays as it is.

    Two rows of a sweep that have the identity of a stage in common have its run in common. Raises UserError
    for parameters that no run can have.
    """
    settings = parse_section(Settings, parameters, PARAMS)
    steps = planned_steps(settings)
    check_chain(len(steps or []))
    row = _Row(workspace, steps, backbone_side(settings), _hash(parameters) if rewritten else "")
    for stage, node in workspace.graph.items():
        row.add(stage, node, parameters)
    return row.identities


class _Row:
    """The stages of one set of parameters, seen one after the other."""

    def __init__(
        self, workspace: Workspace, steps: list[list[str]] | None, side: int | None, params: str
    ) -> None:
        self.workspace = workspace
        self.steps = steps
        self.params = params
        self.side = "" if holds_side(side) else f"images of {side} pixels"
        self.identities = Identities()

    def add(self, stage: str, node: Node, parameters: dict[str, Any]) -> None:
        """Note the stage if it runs."""
        ran = self.workspace.ran
        changed = stage in self.workspace.changed or stage not in ran
        inputs = [self._input(dep) for dep in node.deps]
        if changed or any(inputs) or any(changes_since(ran, stage, parameters)):
            values = {key: value_at(parameters, key) for key in node.params}
            self.identities[stage] = _hash([stage, values, inputs])

    def _input(self, dep: str) -> str:
        """What a dependency will be, as a hash; empty if it stays as it is."""
        path = Path(dep)
        if path.is_relative_to(FINGERPRINTS):
            return "code" if path.name in self.workspace.new_code else ""
        if path == INPUT:
            return self.side
        if path == PARAMS:
            return self.params
        if path.is_relative_to(TASKS) and path != TASKS and self.steps is not None:
            return self._task(path, int(path.relative_to(TASKS).parts[0]), self.steps)
        owners = [one for one in producers(dep, self.workspace.graph) if one in self.identities]
        identities = [self.identities[owner] for owner in owners if not self._leaves_marker_again(owner)]
        return _hash(identities) if identities else ""

    def _leaves_marker_again(self, stage: str) -> bool:
        """Whether a stage is of a number past the protocol's last, and was."""
        step = int(stage.partition("@")[2] or 0)
        if self.steps is None or step <= len(self.steps):
            return False
        return all(is_unused(Path(path)) for path in self.workspace.graph[stage].outs if Path(path).exists())

    def _task(self, path: Path, step: int, steps: list[list[str]]) -> str:
        """The images of a step: which depend on its classes, those before, and all that makes images."""
        if "split" not in self.identities:
            return ""
        workspace = self.workspace
        images = self.identities.get("download", "")
        anew = images or "split" in workspace.new_code | workspace.changed or "split" not in workspace.ran
        classes = steps[:step] if step <= len(steps) else None
        return "" if not anew and _has_classes(path, classes) else _hash([str(path), images, classes])


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _has_classes(path: Path, classes: list[list[str]] | None) -> bool:
    """Whether the images of a step are there for these classes; None for a step that there is not."""
    if classes is None:
        return is_unused(path)
    try:
        return read_task(path, len(classes)) == classes
    except UserError:
        return False


def _changed_outside(graph: dict[str, Node]) -> set[str]:
    """Stages with a changed dependency that no stage leaves, by DVC; parameters are not looked at."""
    done = subprocess.run([sys.executable, "-m", "dvc", "status", "--json"], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc status: failed ({' '.join(done.stderr.split())}); run `der check`")
    found = set()
    for stage, changes in json.loads(done.stdout).items():
        deps = {dep for one in changes if isinstance(one, dict) for dep in _others(one)}
        if "changed command" in changes or any(not producers(dep, graph) for dep in deps):
            found.add(stage)
    return found


def _others(change: dict[str, Any]) -> list[str]:
    """The changed dependencies that are files, not parameters."""
    return [path for path, kind in change.get("changed deps", {}).items() if isinstance(kind, str)]


def _lost(graph: dict[str, Node]) -> set[str]:
    """Stages with an output that is neither there nor in DVC's cache."""
    cache, outputs = find_cache(), read_outputs()
    return {
        stage
        for stage in graph.keys() & outputs.keys()
        for path, digest in outputs[stage].items()
        if not path.exists() and not find_object(cache, digest).exists()
    }
