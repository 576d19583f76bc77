"""Stores how long every stage took, beside the training state, outside the repository and DVC.

The digest of the stage's outputs finds a line again, so that results that DVC restored from its cache have
their own seconds. Copies of the repository in which experiments run share the lines.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

import msgspec

from der.core.cost import Spent, StageTime, WorkClock
from der.core.errors import UserError
from der.pipeline import environment, project

FILE = "seconds.jsonl"  # in the scratch directory: a line for every stage that ran

Kept = TypeVar("Kept")
_running: ContextVar[WorkClock] = ContextVar("_running")


def running_clock() -> WorkClock:
    """Return the running stage's clock, or a new one outside a stage."""
    return _running.get(None) or WorkClock()


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Store the block's wall time for ``stage``, earlier interrupted runs included, unless it fails."""
    clock = WorkClock()
    token = _running.set(clock)
    try:
        yield
    finally:
        _running.reset(token)
    keep_time(stage, clock.spent(), sum(clock.epochs.values()) or None, clock.speeds)


def keep_time(
    stage: str, spent: Spent, epochs: int | None = None, speeds: dict[str, float] | None = None
) -> None:
    """Append a line for ``stage``, which has just written its outputs; ignore errors of writing."""
    with suppress(OSError, UserError):
        line = StageTime(
            stage=stage,
            left=project.digest_outputs(stage),
            run=environment.name_run(),
            project=str(environment.find_project()),
            seconds=round(spent.seconds, 3),
            runs=spent.runs,
            epochs=epochs,
            speeds=speeds,
            **environment.describe_machine_in_use(),
        )
        append(environment.scratch_root() / FILE, line)


def read_times(stages: Iterable[str]) -> dict[str, StageTime]:
    """Read how long each of ``stages`` took for its present outputs; unknown ones are absent.

    ``computed`` are those of the project's last run: the run of the calling stage, else the run of the last
    line. If several runs wrote the same outputs, the last run counts, then the project's own: another
    project on this machine, or another experiment, may have ended later.
    """
    wanted = {stage: project.digest_outputs(stage) for stage in stages}
    lines, here = [*read_lines(environment.scratch_root() / FILE, StageTime)], str(environment.find_project())
    last = next((line.run for line in reversed(lines) if line.project == here), "")
    if _running.get(None) is not None:
        last = environment.name_run()
    same = [line for line in lines if wanted.get(line.stage) == line.left]
    marked = [msgspec.structs.replace(line, computed=line.run == last) for line in same]
    found = {line.stage: line for line in sorted(marked, key=lambda one: (one.project == here, one.computed))}
    return {stage: found[stage] for stage in wanted if stage in found}


def read_last(stages: Iterable[str]) -> dict[str, StageTime]:
    """Read how long each of ``stages`` took when it last ran in this project, for any outputs.

    Stages of unused steps, which leave markers, do not count: they do without the torch of others.
    """
    wanted, here = set(stages), str(environment.find_project())
    every = read_lines(environment.scratch_root() / FILE, StageTime)
    lines = [line for line in every if line.project == here]
    with_torch = {line.stage.partition("@")[0] for line in lines if line.torch and "@" in line.stage}
    lines = [line for line in lines if line.torch or line.stage.partition("@")[0] not in with_torch]
    return {line.stage: line for line in lines if line.stage in wanted}


def append(path: Path, line: msgspec.Struct) -> None:
    """Append ``line`` atomically, also while others write; raises OSError if that is not possible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as stream:
        stream.write(msgspec.json.encode(line) + b"\n")


def read_lines(path: Path, kind: type[Kept]) -> Iterator[Kept]:
    """Read all stored lines, the oldest first; skip a line that a full disk has cut."""
    for text in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError):
            yield msgspec.json.decode(text, type=kind)
