"""The cost of work: its wall time, also over several interrupted runs, and the processor's name."""

import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

_waited = 0.0  # seconds that this process has waited for others


@contextmanager
def waiting() -> Iterator[None]:
    """Mark the block as waiting for another process; no clock of this process counts its time."""
    global _waited
    begin = time.perf_counter()
    try:
        yield
    finally:
        _waited += time.perf_counter() - begin


def working_time() -> float:
    """Return the seconds of ``time.perf_counter``, without those spent in ``waiting``."""
    return time.perf_counter() - _waited


class Spent(NamedTuple):
    """The cost of a piece of work so far."""

    seconds: float  # wall time, without what passed in ``waiting``
    runs: int  # processes that worked on it, one after the other


class WorkClock:
    """A clock that starts when it is made; ``epochs`` counts the passes over training images per phase."""

    def __init__(self) -> None:
        self.begin = working_time()
        self.earlier = Spent(0.0, 0)  # what processes before this one spent
        self.epochs: dict[str, int] = {}
        self.speeds: dict[str, float] | None = None  # seconds that a network takes for an image, by its name

    def spent(self) -> Spent:
        return Spent(self.earlier.seconds + working_time() - self.begin, self.earlier.runs + 1)


class StageTime(msgspec.Struct, frozen=True, omit_defaults=True):
    """The time that one stage needed for its outputs, and its machine."""

    seconds: float  # wall time, of all its parts if it was interrupted and went on
    runs: int  # how often it was started until it was done
    epochs: int | None  # of training; None for other stages
    device: str  # name of the processor or GPU
    torch: str | None  # version; None for a stage without torch
    computed: bool = False  # by the newest run that made the results; else from an earlier one
    speeds: dict[str, float] | None = None  # seconds that a network takes for an image, by its name
    stage: str = ""  # its name in DVC's graph, "train_task@2"
    left: str = ""  # digest of its outputs
    run: str = ""  # name of the `dvc repro` that it was part of
    project: str = ""  # directory


def show_seconds(seconds: float) -> str:
    """Write a length of time in its two largest units: "1 h 23 min", "2 min 5 s", "0.4 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def processor_name() -> str:
    """Read the processor's model, as far as the system tells."""
    details = Path("/proc/cpuinfo")  # Linux
    if details.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", details.read_text(encoding="utf-8"), re.MULTILINE)
        if named:
            return named[1]
    return platform.processor() or platform.machine()
