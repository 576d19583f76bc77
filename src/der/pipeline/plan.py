"""`der plan`: the stages that `dvc repro`, or a sweep, would run at most, and their seconds of last time.

DVC's own --dry shows only stages whose inputs have already changed. This plan adds all stages that depend on
their outputs. It knows some inputs more exactly: fingerprints, the side of images, and the outputs of split
for a step, which depend only on the classes up to that step and their images. Fewer stages may run, never
more: DVC restores earlier results from its cache, and a stage may write the same results as before.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from der.core.cost import StageTime, show_seconds
from der.core.errors import UserError
from der.estimator.choices import backbone_side
from der.pipeline import project
from der.pipeline.dvc import check_lock, md5_of
from der.pipeline.edits import Steps, planned_steps
from der.pipeline.fingerprint import read_code
from der.pipeline.inputs import STAGE as DOWNLOAD
from der.pipeline.inputs import find_changed_classes
from der.pipeline.timing import read_last
from der.settings.experiment import Settings
from der.settings.sections import DatasetSettings
from der.summary.series import align

SPLIT = "split"
CHANGED = "changed"  # in place of the hash of an input
NEVER_RAN, LOST = "never ran", "lost"  # reasons to run, beside paths that have changed

Identities = dict[str, str]  # stages that run, in their order -> what each would compute, as a hash


class Stage(NamedTuple):
    """A stage of DVC's graph, and DVC's record of its last run."""

    params: dict[str, Any]  # key of params.yaml -> the value that it ran with
    deps: dict[Path, str]  # what it reads -> hash of that; "" if there is none
    owners: dict[Path, list[str]]  # what it reads -> the stages that leave it, a part of it, or more
    stale: set[Path]  # inputs that other stages have since written differently
    reasons: set[str]  # reasons to run with any parameters: changed paths from outside, or words


class Workspace(NamedTuple):
    """The state before anything runs."""

    stages: dict[str, Stage]  # each after those that it depends on
    code: dict[str, str]  # script of a stage -> hash of its fingerprint by the code as it is
    images: set[str] | None  # classes with other images than download read; None: any may have


def describe_plan(overrides: Sequence[str]) -> str:
    """Describe what `dvc repro`, or each row of a sweep, would run; overrides as for `dvc exp run -S`."""
    rows, workspace = read_rows(overrides), read_workspace()
    plans = [plan_row(workspace, values, rewritten=bool(words)) for words, values in rows]
    times = read_last(workspace.stages)
    if not overrides:
        return describe_run(plans[0], times)
    return describe_sweep([words for words, _ in rows], plans, times)


def read_rows(overrides: Sequence[str]) -> list[tuple[list[str], dict[str, Any]]]:
    """Make every combination of values ("train.seed=1,2" makes two), each with its params.yaml."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
    from hydra.errors import HydraException  # DVC brings it

    if not overrides:
        return [([], project.read_params())]
    rows, words = [], list(overrides)
    with TemporaryDirectory() as directory:
        try:
            for row in get_hydra_sweeps({str(project.PARAMS): words}):
                words, copy = row[str(project.PARAMS)], Path(shutil.copy(project.PARAMS, directory))
                apply_overrides(copy, list(words))
                rows.append((words, project.read_params(copy)))
        except (DvcException, HydraException, ValueError) as error:
            reason, mend = str(error).partition("\n")[0], f"write KEY=VALUE, with a key of {project.PARAMS}"
            raise UserError(f"-S {' -S '.join(words)}: not understood ({reason}); {mend}") from None
    return rows


def read_workspace() -> Workspace:
    """Read the repository through DVC, which takes a second; raises UserError if that fails."""
    check_lock()  # before DVC, which does not recognise a half-written file
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        index = Repo().index
        owners = {Path(out.def_path): out for out in index.outs}
        stages = {stage.addressing: _look_at(stage, owners) for stage in index.stages}
    except DvcException as error:
        raise UserError(f"dvc: {' '.join(str(error).split())}; run `der check`") from None
    ahead = {name: {one for them in stage.owners.values() for one in them} for name, stage in stages.items()}
    stages = {name: stages[name] for name in TopologicalSorter(ahead).static_order()}
    code = read_code(sorted({name.partition("@")[0] for name in stages} - {"check"}))
    changed = DOWNLOAD in stages and stages[DOWNLOAD].reasons
    images = (
        find_changed_classes(project.load_section(DatasetSettings, "dataset", project.read_params()))
        if changed
        else None
    )
    return Workspace(stages, {name: md5_of(text.encode()) for name, text in code.items()}, images)


def _look_at(stage: Any, outs: Mapping[Path, Any]) -> Stage:
    """Read what DVC records of one stage."""
    from dvc.dependency import ParamsDependency

    found = Stage({}, {}, {}, set(), set())
    if stage.cmd_changed or not all(one.hash_info for one in (*stage.deps, *stage.outs)):
        found.reasons.add(NEVER_RAN)
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            found.params.update({key: (dep.hash_info.value or {}).get(key, NEVER_RAN) for key in dep.params})
            continue
        path = Path(dep.def_path)
        owners = [out for one, out in outs.items() if path.is_relative_to(one) or one.is_relative_to(path)]
        found.deps[path] = dep.hash_info.value or ""
        found.owners[path] = [out.stage.addressing for out in owners]
        if not owners and dep.status():
            found.reasons.add(dep.def_path)
        elif owners and not path.is_relative_to(project.FINGERPRINTS) and _is_stale(dep, owners):
            found.stale.add(path)
    if any(map(_is_lost, stage.outs)):
        found.reasons.add(LOST)
    return found


def _is_stale(dep: Any, owners: Sequence[Any]) -> bool:
    """Tell whether a stage read another version than its owners' last output, which DVC would restore."""
    owner = owners[0]
    if len(owners) > 1 or not Path(dep.def_path).is_relative_to(owner.def_path):
        return bool(dep.status())
    left = owner if dep.fs_path == owner.fs_path else owner.get_obj(filter_info=dep.fs_path)
    return left is None or left.hash_info != dep.hash_info


def _is_lost(out: Any) -> bool:
    """Tell whether an output has changed and DVC cannot restore it."""
    if out.use_cache and not out.persist:  # DVC's run cache has none of these
        return bool(out.changed_cache())
    kept = not out.persist and out.repo.cache.local.exists(out.hash_info.value or "")
    return bool(out.workspace_status()) and not kept


def plan_row(workspace: Workspace, parameters: dict[str, Any], *, rewritten: bool) -> Identities:
    """List what runs with ``parameters``, all of params.yaml, which is ``rewritten`` with them or unchanged.

    Two rows of a sweep with the same identity of a stage share its run. Raises UserError for impossible
    parameters.
    """
    settings = project.parse_section(Settings, parameters, project.PARAMS)
    steps, side = planned_steps(settings), backbone_side(settings)
    project.check_chain(len(steps or []))
    checked = project.plan_compression(settings.compress, len(steps) if steps else None)
    written = {path: _hash(one) * (not project.holds(path, one)) for path, one in checked.items()}
    written |= {
        project.COMPRESS: "".join(written.values()),
        project.INPUT: "" if project.holds(project.INPUT, {"image_side": side}) else f"{side} pixels",
        project.PARAMS: _hash(parameters) * rewritten,
    }
    row = _Row(workspace, steps, written)
    for name, stage in workspace.stages.items():
        row.add(name, stage, parameters)
    return row.identities


@dataclass
class _Row:
    """The stages of one set of parameters, added one by one."""

    workspace: Workspace
    steps: Steps | None
    written: dict[Path, str]  # what is written before a run, as a hash; empty if it stays as it is
    raw: str = ""  # the images that split reads, as a hash; empty if they stay as they are
    images: set[str] | None = None  # classes whose images are others; None: any may be
    identities: Identities = field(default_factory=dict)

    def add(self, name: str, stage: Stage, parameters: dict[str, Any]) -> None:
        """Add the stage if it runs."""
        values = {key: project.value_at(parameters, key) for key in stage.params}
        inputs = {path: self._input(name, stage, path) for path in stage.deps}
        if values != stage.params or any(inputs.values()) or stage.reasons:
            told = {path.as_posix(): one for path, one in inputs.items() if one}
            self.identities[name] = _hash([name, values, told])
            if name == DOWNLOAD and values == stage.params and not told:
                self.images = self.workspace.images
            if name == SPLIT:
                self.raw = inputs.get(project.RAW, "")

    def _input(self, name: str, stage: Stage, path: Path) -> str:
        """Return the hash of a stage's future input; empty if it stays the same."""
        if path.is_relative_to(project.FINGERPRINTS):
            return "" if self.workspace.code[name.partition("@")[0]] == stage.deps[path] else CHANGED
        if anew := self.written.get(path):
            return anew
        if path in stage.stale:
            return CHANGED
        if path == project.INPUT or path.is_relative_to(project.COMPRESS):
            return ""
        if path.is_relative_to(project.TASKS) and path != project.TASKS and self._keeps_task(path):
            return ""
        running = [self.identities[one] for one in stage.owners[path] if one in self.identities]
        if path == project.RAW and self.images == set():
            running = []
        return _hash([path.as_posix(), running]) if running else ""

    def _keeps_task(self, path: Path) -> bool:
        """Tell whether split, if it runs, writes the same images of a step: it does for the same classes."""
        split, step = self.workspace.stages[SPLIT], int(path.relative_to(project.TASKS).parts[0])
        if SPLIT not in self.identities:
            return True
        other_code = self.workspace.code[SPLIT] != split.deps.get(project.FINGERPRINTS / SPLIT)
        if self.steps is None or other_code or split.reasons - {project.CHAIN.as_posix()}:
            return False
        if self.raw:  # whose images may be others: those of new classes to train on, of all to test on
            steps = self.steps[step - 1 if path.name == "train" else 0 : step]
            classes = {name for names in steps for name in names}
            if self.images is None or project.RAW in split.stale or self.images & classes:
                return False
        try:
            if step > len(self.steps):
                return project.is_unused(path)
            return project.read_task(path, step) == self.steps[:step]
        except UserError:
            return False


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def describe_run(plan: Identities, times: Mapping[str, StageTime]) -> str:
    """Write a line for every stage that runs, and their sum."""
    if not plan:
        return "`dvc repro` would run nothing"
    shown = {stage: f"{times[stage].seconds:.1f}" if stage in times else "-" for stage in plan}
    lines = align([["stage", "seconds"], *map(list, shown.items())], "<>")
    head = f"`dvc repro` would run {len(plan)} stage{'s' * (len(plan) > 1)}:"
    return "\n".join([head, "", *lines, "", _sum([*plan], times)])


def describe_sweep(
    rows: Sequence[Sequence[str]], plans: Sequence[Identities], times: Mapping[str, StageTime]
) -> str:
    """Write a line for every row with its own stages: a shared stage counts for the first row."""
    seen: set[str] = set()
    every: list[str] = []
    cells = [["settings", "stages", "of its own", "seconds"]]
    for row, plan in zip(rows, plans, strict=True):
        own = [stage for stage, identity in plan.items() if identity not in seen]
        seen |= set(plan.values())
        every += own
        known = sum(times[stage].seconds for stage in own if stage in times)
        cells.append([" ".join(row), str(len(plan)), str(len(own)), f"{known:.1f}"])
    head = f"{len(rows)} rows; a stage that two have in common runs once, and counts for the first:"
    return "\n".join([head, "", *align(cells, "<>>>"), "", _sum(every, times)])


def _sum(stages: list[str], times: Mapping[str, StageTime]) -> str:
    known = [times[stage].seconds for stage in stages if stage in times]
    unknown = len(stages) - len(known)
    text = f"{show_seconds(sum(known))} in all, by what each took last time"
    more = f", and {unknown} stage{'s' * (unknown > 1)} of which nothing is known here"
    return text + (more if unknown else "")
