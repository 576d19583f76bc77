"""Wall time of a piece of work that may be interrupted and go on in another process."""

import time
from typing import NamedTuple


class Spent(NamedTuple):
    """What work has cost so far."""

    seconds: float  # wall time
    runs: int  # processes that worked on it, one after the other


class WorkClock:
    """Runs from the moment it is made; ``epochs`` counts the passes over training images, by phase."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.earlier = Spent(0.0, 0)
        self.epochs: dict[str, int] = {}

    def go_on(self, earlier: Spent, waited: float) -> None:
        """Count what ``earlier`` processes spent, and not the seconds that this one ``waited`` for others."""
        self.earlier = earlier
        self.begin += waited

    def spent(self) -> Spent:
        """By this process and those before it."""
        return Spent(self.earlier.seconds + time.perf_counter() - self.begin, self.earlier.runs + 1)
