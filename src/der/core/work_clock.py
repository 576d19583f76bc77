"""Wall time of a piece of work that may be interrupted and go on in another process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

_waited = 0.0  # seconds, by this process, for others


@contextmanager
def waiting() -> Iterator[None]:
    """Wait for another process's work in the block: no clock of this process counts it."""
    global _waited
    begin = time.perf_counter()
    try:
        yield
    finally:
        _waited += time.perf_counter() - begin


def working_time() -> float:
    """Seconds as of ``time.perf_counter``, but for what passed in ``waiting``."""
    return time.perf_counter() - _waited


class Spent(NamedTuple):
    """What work has cost so far."""

    seconds: float  # wall time, but for what passed in ``waiting``
    runs: int  # processes that worked on it, one after the other


class WorkClock:
    """Runs from the moment it is made; ``epochs`` counts the passes over training images, by phase."""

    def __init__(self) -> None:
        self.begin = working_time()
        self.earlier = Spent(0.0, 0)
        self.epochs: dict[str, int] = {}

    def go_on(self, earlier: Spent) -> None:
        """Count what ``earlier`` processes spent, too."""
        self.earlier = earlier

    def spent(self) -> Spent:
        """By this process and those before it."""
        return Spent(self.earlier.seconds + working_time() - self.begin, self.earlier.runs + 1)
