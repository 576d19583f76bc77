"""`der plan`: the stages that `dvc repro`, or a sweep, would run at most, and their seconds.

DVC's own --dry shows only stages whose inputs have already changed. This plan adds all stages that depend on
their outputs. It knows some inputs more exactly: fingerprints, the side of images, and the outputs of split
for a step, which depend only on the classes up to that step and their images. Fewer stages may run, never
more: DVC restores earlier results from its cache, and a stage may write the same results as before.

Seconds are those of last time; of a training also estimated from the nearest step, by epochs and extractors.
"""

import json
import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from der.core.cost import StageTime, show_seconds
from der.core.errors import UserError
from der.core.files import digest, write_sealed
from der.data.protocol import arriving
from der.estimator.choices import backbone_side
from der.pipeline import dvc, edits, fingerprint, inputs, project, timing
from der.settings.experiment import Settings
from der.settings.sections import DatasetSettings
from der.summary.series import align

SPLIT, FEATURES = "split", "features"
CHANGED = "changed"  # in place of the hash of an input
NEVER_RAN, LOST = "never ran", "lost"  # reasons to run, beside paths that have changed
MARKER = 0.1  # seconds of a stage of an unused step
COSTLY = re.compile(r"\w+\.(source|image_side|channels|backbone|depth|stem|tuned|precision)")  # the keys

Identities = dict[str, str]  # stages that run, in their order -> what each would compute, as a hash


class Stage(NamedTuple):
    """A stage of DVC's graph, and DVC's record of its last run."""

    params: dict[str, Any]  # key of params.yaml -> the value that it ran with
    deps: dict[Path, str]  # what it reads -> hash of that; "" if there is none
    owners: dict[Path, list[str]]  # what it reads -> the stages that leave it, a part of it, or more
    stale: set[Path]  # inputs that other stages have since written differently
    reasons: set[str]  # reasons to run with any parameters: changed paths from outside, or words


class Cost(NamedTuple):
    seconds: float | None  # None: nothing is known
    estimated: bool = True  # else it took so long last time


class Row(NamedTuple):
    """The plan of a run, or of a row of a sweep."""

    words: list[str]  # its overrides
    stages: int  # that run
    own: dict[str, Cost]  # those of them that no row before has


class Workspace(NamedTuple):
    """The state before anything runs."""

    stages: dict[str, Stage]  # each after those that it depends on
    code: dict[Path, str]  # fingerprint of a stage -> hash of it by the code as it is
    settled: bool  # data/raw and data/tasks are as DVC has recorded them, not as a killed stage left them
    images: set[str] | None  # classes with other images than download read; None: any may have


def describe_plan(overrides: Sequence[str], *, as_json: bool = False) -> str:
    """Describe what `dvc repro`, or each row of a sweep, would run; overrides as for `dvc exp run -S`."""
    parameters, workspace = read_rows(overrides), read_workspace()
    every = [project.parse_section(Settings, values, project.PARAMS) for _, values in parameters]
    times, rows, seen = timing.read_last(workspace.stages), list[Row](), set[str]()
    for (words, values), settings in zip(parameters, every, strict=True):
        steps = edits.planned_steps(settings)
        plan = plan_row(workspace, values, settings, steps, rewritten=bool(words))
        costs = estimate(plan, settings, steps or [], comparable(times, workspace, values))
        own = {stage: costs[stage] for stage, identity in plan.items() if identity not in seen}
        seen |= set(plan.values())
        rows.append(Row(words, len(plan), own))
    if as_json:
        return dump_json(rows)
    if overrides:
        return describe_sweep(rows)
    photos = edits.describe_photos(settings) if workspace.images else []
    return "\n".join([describe_run(rows[0].own), *photos])


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
    dvc.check_lock()  # before DVC, which does not recognise a half-written file
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    try:
        index = Repo().index
        outs = {Path(out.def_path): out for out in index.outs}
        wrong = map(project.made_of, dvc.find_misrecorded())
        forgotten = {outs[path].hash_info.value for path in wrong if path in outs}
        ours = [one for one in plan_repro(index.graph) if one.cmd]  # others are files added to DVC
        stages = {one.addressing: _look_at(one, outs, forgotten) for one in ours}
        settled = not any(outs[path].workspace_status() for path in (project.RAW, project.TASKS))
    except DvcException as error:
        raise UserError(f"dvc: {' '.join(str(error).split())}; run `der check`") from None
    code = fingerprint.read_code(sorted({name.partition("@")[0] for name in stages} - {"check"}))
    hashes = {project.fingerprint(name): dvc.md5_of(text.encode()) for name, text in code.items()}
    images = None
    if stages[inputs.STAGE].reasons and settled:
        dataset = project.load_section(DatasetSettings, "dataset", project.read_params())
        images = inputs.find_changed_classes(dataset)
    return Workspace(stages, hashes, settled, images)


def _look_at(stage: Any, outs: Mapping[Path, Any], forgotten: set[str]) -> Stage:
    """Read what DVC records of one stage; ``forgotten`` are objects that stage check removes."""
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
        elif owners and _is_stale(dep, owners):
            found.stale.add(path)
    if any(out.hash_info.value in forgotten or _is_lost(out) for out in stage.outs):
        found.reasons.add(LOST)
    return found


def _is_stale(dep: Any, owners: Sequence[Any]) -> bool:
    """Tell whether a stage read another version than its owners' last output, which DVC would restore."""
    owner = owners[0]
    if len(owners) > 1 or not Path(dep.def_path).is_relative_to(owner.def_path):
        return any(one.workspace_status() for one in (dep, *owners))
    left = owner if dep.fs_path == owner.fs_path else owner.get_obj(filter_info=dep.fs_path)
    return left is None or left.hash_info != dep.hash_info


def _is_lost(out: Any) -> bool:
    if out.use_cache and not out.persist:  # DVC's run cache has none of these
        return bool(out.changed_cache())
    kept = not out.persist and out.repo.cache.local.exists(out.hash_info.value or "")
    return bool(out.workspace_status()) and not kept


def plan_row(
    workspace: Workspace, parameters: Any, settings: Settings, steps: edits.Steps | None, *, rewritten: bool
) -> Identities:
    """List what runs with ``parameters``, all of params.yaml, which is ``rewritten`` with them or unchanged.

    Two rows of a sweep with the same identity of a stage share its run.
    """
    side = backbone_side(settings)
    project.check_chain(len(steps or []))
    checked = project.plan_compression(settings.compress, len(steps) if steps else None)
    checked[project.INPUT] = {"image_side": side}
    known = dict(workspace.code)
    with TemporaryDirectory() as directory:
        for path, values in checked.items():
            written = Path(directory, path)
            written.parent.mkdir(parents=True, exist_ok=True)
            write_sealed(written, values)
            known[path] = dvc.md5_of(written)
    if rewritten:
        known[project.PARAMS] = _hash(parameters)
    row = _Row(workspace, steps, known)
    for name, stage in workspace.stages.items():
        row.add(name, stage, parameters)
    return row.identities


@dataclass
class _Row:
    """The stages of one set of parameters, added one by one."""

    workspace: Workspace
    steps: edits.Steps | None
    known: dict[Path, str]  # hashes of what stage check, or who edits, will have written
    images: set[str] | None = field(default_factory=set)  # classes whose images become others; None: any may
    identities: Identities = field(default_factory=dict)
    only_images: bool = True  # nothing but images makes stage features run, if anything does

    def add(self, name: str, stage: Stage, parameters: Any) -> None:
        values = {key: project.value_at(parameters, key) for key in stage.params}
        told = {path.as_posix(): one for path in stage.deps if (one := self._input(stage, path))}
        if values != stage.params or told or stage.reasons:
            self.identities[name] = _hash([name, values, told])
            if name == inputs.STAGE:
                same = values == stage.params and not told and NEVER_RAN not in stage.reasons
                self.images = self.workspace.images if same else None
        if name == FEATURES:
            others = told.keys() - {project.TASKS.as_posix()}
            self.only_images = values == stage.params and not others and not stage.reasons

    def _input(self, stage: Stage, path: Path) -> str:
        """Return the hash of a stage's future input; empty if it stays the same."""
        if path in self.known:
            return self.known[path] if self.known[path] != stage.deps[path] else ""
        running = [self.identities[one] for one in stage.owners[path] if one in self.identities]
        if path in stage.stale:
            return _hash([CHANGED, running])
        if path.is_relative_to(project.TASKS) and path != project.TASKS and self._keeps_task(path):
            return ""
        if path.is_relative_to(project.FEATURES) and path != project.FEATURES and self._keeps_features(path):
            return ""
        if path == project.RAW and self.images == set():
            running = []
        return _hash([path.as_posix(), running]) if running else ""

    def _keeps_features(self, path: Path) -> bool:
        """Tell whether stage features, if it runs, writes the same ones: it does for the same images."""
        first, *rest = path.relative_to(project.FEATURES).parts
        step, part = (1, "train") if first == project.NETWORK.name else (int(first), rest[0])
        of = range(1, step + 1) if part == "train" else [step]  # of all classes seen
        return self.only_images and all(self._keeps_task(project.TASKS / str(one) / part) for one in of)

    def _keeps_task(self, path: Path) -> bool:
        """Tell whether split, if it runs, writes the same images of a step: it does for the same classes."""
        split, code = self.workspace.stages[SPLIT], project.fingerprint(SPLIT)
        other_code = self.known[code] != split.deps[code]
        if self.steps is None or other_code or split.reasons - {str(project.CHAIN)}:
            return False
        if not self.workspace.settled or self.images is None or project.RAW in split.stale:
            return False
        step = int(path.relative_to(project.TASKS).parts[0])
        come = arriving(self.images, self.steps)  # to train on; all come to test on, too
        if any(
            self.images & {*chain(*one.values())}
            for one in come[step - 1 if path.name == "train" else 0 : step]
        ):
            return False
        try:
            if step > len(self.steps):
                return project.is_unused(path)
            return project.read_task(path, step) == self.steps[:step]
        except UserError:
            return False


def _hash(content: Any) -> str:
    return digest(json.dumps(content).encode())


def comparable(times: Mapping[str, StageTime], workspace: Workspace, values: Any) -> dict[str, StageTime]:
    """Choose the ``times`` of images, networks and arithmetic like those of ``values``."""
    other = set()  # numbers of steps; "" is that of stages without one
    for stage, one in workspace.stages.items():
        pairs = (project.compare(old, project.value_at(values, key), key) for key, old in one.params.items())
        if any(COSTLY.match(change.key) for change in chain(*pairs)):
            other.add(stage.partition("@")[2])
    return {stage: time for stage, time in times.items() if other.isdisjoint({"", stage.partition("@")[2]})}


def estimate(
    stages: Iterable[str], settings: Settings, steps: edits.Steps, times: Mapping[str, StageTime]
) -> dict[str, Cost]:
    """Return what each stage of a plan took last time, or an estimate of a training; ``steps`` may be []."""
    tuned = settings.network.tuned

    def work(step: int) -> float:  # of an epoch: a frozen extractor takes a third of a trained one
        return 1 + (step - 1) / 3 if settings.network.expansion and tuned == "all" else 1.0

    rates = {
        step: last.seconds / (work(step) * last.epochs)
        for step in range(1, len(steps) + 1)
        if (last := times.get(f"{edits.TRAINING}{step}")) and last.epochs
    }

    def cost(stage: str) -> Cost:
        step, last = int(stage.partition("@")[2] or 0), times.get(stage)
        if steps and step > len(steps):
            return Cost(MARKER)
        epochs = None
        if stage.startswith(edits.TRAINING) and tuned != "none":
            again = step > 1 and settings.train.incremental.rebalancing == "classifier_learning"
            later = settings.train.incremental.classifier.epochs if again else 0
            epochs = settings.train.phase(step).epochs + later
        if last is not None and epochs in (None, last.epochs):
            return Cost(last.seconds, estimated=False)
        if epochs is None or not rates:
            return Cost(None)
        return Cost(rates[min(rates, key=lambda one: abs(one - step))] * work(step) * epochs)

    return {stage: cost(stage) for stage in stages}


def describe_run(costs: Mapping[str, Cost]) -> str:
    """Write a line for every stage that runs, and their sum."""
    if not costs:
        return "`dvc repro` would run nothing"
    lines = align([["stage", "seconds"], *([stage, _show(cost)] for stage, cost in costs.items())], "<>")
    head = f"`dvc repro` would run {len(costs)} stage{'s' * (len(costs) > 1)}:"
    return "\n".join([head, "", *lines, "", _sum(costs.values())])


def describe_sweep(rows: Sequence[Row]) -> str:
    """Write a line for every row with its own stages: a shared stage counts for the first row."""
    cells = [["settings", "stages", "of its own", "seconds"]]
    cells += [
        [" ".join(one.words), f"{one.stages}", f"{len(one.own)}", _show(_add(one.own.values()))]
        for one in rows
    ]
    head = f"{len(rows)} rows; a stage that two have in common runs once, and counts for the first:"
    every = [cost for row in rows for cost in row.own.values()]
    return "\n".join([head, "", *align(cells, "<>>>"), "", _sum(every)])


def dump_json(rows: Sequence[Row]) -> str:
    """Write the stages of a run, or of each row of a sweep, as JSON."""
    listed = [[{"stage": stage, **cost._asdict()} for stage, cost in row.own.items()] for row in rows]
    if not rows[0].words:
        return json.dumps({"stages": listed[0]}, indent=2)
    each = [{"settings": row.words, "stages": own} for row, own in zip(rows, listed, strict=True)]
    return json.dumps({"rows": each}, indent=2)


def _add(costs: Collection[Cost]) -> Cost:
    known = [cost for cost in costs if cost.seconds is not None]
    seconds = sum(cost.seconds or 0.0 for cost in known) if known or not costs else None
    return Cost(seconds, any(cost.estimated for cost in known))


def _show(cost: Cost) -> str:
    return "-" if cost.seconds is None else f"{'about ' * cost.estimated}{cost.seconds:.1f}"


def _sum(costs: Collection[Cost]) -> str:
    total, unknown = _add(costs), sum(cost.seconds is None for cost in costs)
    parts = [f"{unknown} stage{'s' * (unknown > 1)} of which nothing is known here"] * (unknown > 0)
    if total.seconds is not None:
        text = "about {} in all, an estimate" if total.estimated else "{} in all, by what each took last time"
        parts.insert(0, text.format(show_seconds(total.seconds)))
    return ", and ".join(parts)
