"""Seconds of every stage, kept beside the training state: outside the repository and all that DVC tracks.

They are found again by what the stage left, so that a run that DVC restored from its cache has its own, not
those of whatever ran last; copies of the repository in which experiments run share them. A stage that DVC
skips or restores runs no code, and leaves no line.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

import msgspec

from der.core.errors import UserError
from der.core.filesystem import regular
from der.core.stage_time import StageTime
from der.core.work_clock import Spent, WorkClock
from der.pipeline.environment import scratch_root
from der.pipeline.machine import describe_machine_in_use
from der.pipeline.parent import name_run
from der.pipeline.paths import digest_outputs

FILE = "seconds.jsonl"  # in the scratch directory: a line for every stage that ran
COPIES = Path(".dvc/tmp/exps")  # where DVC runs experiments in copies of a project


class Line(msgspec.Struct, frozen=True):
    """One stage that ran to its end."""

    stage: str  # its name in DVC's graph, "train_task@2"
    left: str  # digest of its outputs
    run: str  # name of the `dvc repro` that it was part of
    project: str  # directory
    seconds: float
    runs: int
    epochs: int | None
    device: str
    torch: str | None


Kept = TypeVar("Kept")
_running: ContextVar[WorkClock] = ContextVar("_running")


def running_clock() -> WorkClock:
    """The clock of the stage that runs; one of its own outside any."""
    return _running.get(None) or WorkClock()


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Keep how long the block took, in wall time, as ``stage``'s, unless it fails.

    What goes on with the work of an interrupted run adds that to ``running_clock``. Seconds that cannot be
    written are lost: no result depends on them.
    """
    clock = WorkClock()
    token = _running.set(clock)
    try:
        yield
    finally:
        _running.reset(token)
    keep_time(stage, clock.spent(), sum(clock.epochs.values()) or None)


def keep_time(stage: str, spent: Spent, epochs: int | None = None) -> None:
    """Append a line for ``stage``, which has just left its outputs."""
    try:
        line = Line(
            stage=stage,
            left=digest_outputs(stage),
            run=name_run(),
            project=str(find_project()),
            seconds=round(spent.seconds, 3),
            runs=spent.runs,
            epochs=epochs,
            **describe_machine_in_use(),
        )
        append(scratch_root() / FILE, line)
    except (OSError, UserError):
        return


def append(path: Path, line: msgspec.Struct) -> None:
    """Add ``line`` in one piece, whoever else writes; raises OSError where that is not possible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        regular(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, msgspec.json.encode(line) + b"\n")
    finally:
        os.close(descriptor)


def find_project() -> Path:
    """The directory of the project, also in a copy of it in which DVC runs an experiment."""
    here = Path.cwd()
    for above in here.parents:
        if here.is_relative_to(above / COPIES):
            return above
    return here


def read_times(stages: Iterable[str]) -> dict[str, StageTime]:
    """How long each of ``stages`` took to leave what lies there now; one of which nothing is known is absent.

    ``computed`` are those of the project's last run: DVC kept or restored what the others left. It is the run
    that a stage which asks is part of; outside of any it is that of the last line, of whatever stage.
    Of several that left the same, the last run's comes first, then the project's own: another project on this
    machine, or another experiment, may have ended later.
    """
    wanted = {stage: digest_outputs(stage) for stage in stages}
    lines, project = _lines(), str(find_project())
    last = name_run() if _running.get(None) is not None else _last_run(lines, project)
    same = [line for line in lines if wanted.get(line.stage) == line.left]
    same.sort(key=lambda line: (line.project == project, line.run == last))
    found = {line.stage: line for line in same}
    return {stage: _time(found[stage], last) for stage in wanted if stage in found}


def read_last(stages: Iterable[str]) -> dict[str, StageTime]:
    """How long each of ``stages`` took when it last ran in this project, whatever it left then."""
    wanted, lines, project = set(stages), _lines(), str(find_project())
    last = _last_run(lines, project)
    return {
        line.stage: _time(line, last) for line in lines if line.project == project and line.stage in wanted
    }


def _lines() -> list[Line]:
    return list(read_lines(scratch_root() / FILE, Line))


def _last_run(lines: Sequence[Line], project: str) -> str:
    """The last run of this project; "" if there is none."""
    return next((line.run for line in reversed(lines) if line.project == project), "")


def _time(line: Line, last_run: str) -> StageTime:
    return StageTime(
        line.seconds, line.runs, line.epochs, line.device, line.torch, computed=line.run == last_run
    )


def read_lines(path: Path, kind: type[Kept]) -> Iterator[Kept]:
    """All that were kept, the oldest first; a line cut short, by a full disk, is passed over."""
    try:
        kept = regular(path).read_bytes()
    except OSError:
        return
    for text in kept.splitlines():
        try:
            yield msgspec.json.decode(text, type=kind)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
