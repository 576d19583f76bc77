"""What `dvc repro` would run, all of it: DVC's own --dry shows the stages whose inputs have changed by now.

A stage runs if its parameters, its code or an input from outside have changed, if DVC's cache has lost what
it takes to restore its outputs, or if it depends on what a stage that runs leaves. Some edges tell more than
that: what split leaves for a step depends on the classes up to that step and their images alone, a
fingerprint on the code of its stage, the side of images on the backbone, and what a folder of weights brings
on the file that is named. What DVC's cache holds of earlier runs is restored when its turn comes, so that
less may run, never more.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from der.core.errors import UserError
from der.estimator.choices import backbone_side
from der.pipeline.expanded_graph import Node, expand_graph, producers
from der.pipeline.fingerprint_files import read_code
from der.pipeline.inputs import (STAGE as DOWNLOAD, find_changed_classes)
from der.pipeline.lockfile import Ran, changes_since, read_dependencies, read_lock, read_outputs
from der.pipeline.markers import is_unused
from der.pipeline.objects import find_cache, find_object
from der.pipeline.params import holds_side, load_section, parse_section, value_at
from der.pipeline.paths import FINGERPRINTS, INPUT, PARAMS, TASKS, fingerprint
from der.pipeline.planning import planned_steps
from der.pipeline.steps import (check_chain, read_task)
from der.pipeline.weights import (STAGE as STAGE_OF_WEIGHTS, names_file)
from der.settings.experiment import Settings
from der.settings.sections import DatasetSettings

CHECK = "check"
WEIGHTS_KEY = "network.weights"

Identities = dict[str, str]  # stages that run, in their order -> what each would compute, as a hash


class Workspace(NamedTuple):
    """What there is before anything runs."""

    graph: dict[str, Node]
    ran: Ran
    new_code: set[str]  # stages that ran with other code
    changed: set[str]  # stages of which an input from outside has changed, or an output is lost
    images: set[str] | None = None  # classes with other images than download read; None: any may have


def read_workspace() -> Workspace:
    """Look at the repository, which DVC does in part; raises UserError if that fails."""
    graph = expand_graph()
    ran = read_lock()  # before DVC, which does not know one that is half-written
    changed = _find_changed(graph)
    images = find_changed_classes(load_section(DatasetSettings, "dataset")) if DOWNLOAD in changed else None
    return Workspace(graph, ran, _find_new_code(graph), changed, images)


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
        self.images: set[str] | None = set()  # classes with other images than before; None: any may have
        self.same: set[str] = set()  # stages that run and leave what they left
        self.side = "" if holds_side(side) else f"images of {side} pixels"
        self.identities = Identities()

    def add(self, stage: str, node: Node, parameters: dict[str, Any]) -> None:
        """Note the stage if it runs."""
        ran = self.workspace.ran
        changed = stage in self.workspace.changed or stage not in ran
        inputs = [self._input(dep, stage) for dep in node.deps]
        told = stage not in ran or any(inputs) or any(changes_since(ran, stage, parameters))
        if changed or told:
            self._look_outside(stage, parameters, alone=not told)
            values = {key: value_at(parameters, key) for key in node.params}
            self.identities[stage] = _hash([stage, values, inputs])

    def _look_outside(self, stage: str, parameters: dict[str, Any], *, alone: bool) -> None:
        """What a stage leaves that runs for an input from outside: for that ``alone``, or for more."""
        if stage == DOWNLOAD:
            self.images = self.workspace.images if alone else None
            unchanged = self.images == set()
        else:  # the folder of weights has more than the file that is named
            unchanged = (
                stage == STAGE_OF_WEIGHTS and alone and not names_file(value_at(parameters, WEIGHTS_KEY))
            )
        if unchanged:
            self.same.add(stage)

    def _input(self, dep: str, stage: str) -> str:
        """What a dependency of ``stage`` will be, as a hash; empty if it stays as it is."""
        path = Path(dep)
        if path.is_relative_to(FINGERPRINTS):
            return "code" if stage in self.workspace.new_code else ""
        if path == INPUT:
            return self.side
        if path == PARAMS:
            return self.params
        if path.is_relative_to(TASKS) and path != TASKS and self.steps is not None:
            return self._task(path, int(path.relative_to(TASKS).parts[0]), self.steps)
        running = self.identities.keys() - self.same
        owners = [one for one in producers(dep, self.workspace.graph) if one in running]
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
        images = self.identities.get(DOWNLOAD, "") if self._has_other_images(path, step, steps) else ""
        anew = images or "split" in workspace.new_code | workspace.changed or "split" not in workspace.ran
        classes = steps[:step] if step <= len(steps) else None
        return "" if not anew and _has_classes(path, classes) else _hash([str(path), images, classes])

    def _has_other_images(self, path: Path, step: int, steps: list[list[str]]) -> bool:
        """Whether a step's images may have changed: of its new classes to train on, of all to test on."""
        if self.images is None:
            return True
        if step > len(steps):
            return False
        classes = steps[step - 1 : step] if path.name == "train" else steps[:step]
        return any(name in self.images for names in classes for name in names)


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


def _find_changed(graph: dict[str, Node]) -> set[str]:
    """Stages that run for what `dvc status` says of them; parameters are not looked at."""
    done = subprocess.run([sys.executable, "-m", "dvc", "status", "--json"], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc status: failed ({' '.join(done.stderr.split())}); run `der check`")
    status, uncached = json.loads(done.stdout), _find_uncached()
    return {stage for stage, changes in status.items() if runs_for(stage, changes, graph, uncached)}


def runs_for(stage: str, changes: list[Any], graph: dict[str, Node], uncached: set[str]) -> bool:
    """Whether a stage runs for what `dvc status` says of it, apart from other values of its parameters.

    Outputs that have changed are restored, but for those that are ``uncached``.
    """
    told = [one for one in changes if isinstance(one, dict)]
    deps = {path: kind for one in told for path, kind in one.get("changed deps", {}).items()}
    outs = {path: kind for one in told for path, kind in one.get("changed outs", {}).items()}
    return (
        "changed command" in changes
        or any(isinstance(kind, str) and not producers(path, graph) for path, kind in deps.items())
        or any("new" in kind.values() for kind in deps.values() if isinstance(kind, dict))  # parameters
        or any(kind == "not in cache" or path in uncached for path, kind in outs.items())
        or (stage == CHECK and bool(outs))  # which are in no cache of runs
    )


def _find_new_code(graph: dict[str, Node]) -> set[str]:
    """Stages that DVC has seen run with another fingerprint than that of the code as it stands."""
    ran = read_dependencies()
    scripts = {stage: stage.partition("@")[0] for stage in graph if stage != CHECK}
    texts = read_code(sorted(set(scripts.values())))
    hashes = {
        script: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        for script, text in texts.items()
    }
    return {
        stage
        for stage, script in scripts.items()
        if ran.get(stage, {}).get(fingerprint(script)) != hashes[script]
    }


def _find_uncached() -> set[str]:
    """Outputs whose object DVC's cache has not; of a file that git tracks `dvc status` does not say so."""
    cache = find_cache()
    return {
        path.as_posix()
        for outputs in read_outputs().values()
        for path, digest in outputs.items()
        if not find_object(cache, digest).exists()
    }
