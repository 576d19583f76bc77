"""Turns on the processor's cores, so that runs on one machine do not slow each other.

Torch's threads wait for each other by spinning, thousands of times a second. If two runs have more threads
than there are cores, those that spin keep the cores from those that they wait for, and both runs take many
times as long as one after the other. How many threads there are decides on the bits of sums, so a run cannot
do with fewer: runs take turns. No result depends on it, and whatever keeps a turn from being taken, work goes
on: whoever waits, waits for runs that show that they live.
"""

import os
import random
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch

from der.core import ranks
from der.core.work_clock import waiting

try:
    from der.core.living_locks import lock_some
except ImportError:  # Windows: no turns there
    lock_some = None  # type: ignore[assignment]

# Seconds between two looks at cores that others hold, more or less: a look takes microseconds, but wakes a
# core that one of the other's threads has, for which all its threads wait.
POLL = 0.03
CONTAINER_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # microseconds of processor time in a period of so many
# Seconds of a turn that is passed on; the threads of the one before spin for hundredths of one.
SHORTEST = 10.0

_own = threading.local()  # .held: this thread's turn
_pause = random.Random()  # looks that keep time with those of others would come second every time


class Turn:
    """Holds cores from the first ``take`` on."""

    def __init__(self) -> None:
        self.held = ExitStack()

    def take(self) -> None:
        """Wait for cores and hold them; go on without if there is no lock to be had. No clock counts it.

        Of several ranks the first takes the cores of all: one that waits alone would seem not to answer.
        """
        if ranks.is_first():
            with suppress(OSError), waiting():
                self.held = _take()
        ranks.meet()
        self.since = time.monotonic()

    def release(self) -> None:
        """Hold no cores."""
        self.held.close()

    def pass_on(self) -> None:
        """Let others have a turn if this one has lasted for SHORTEST seconds, and take the next."""
        if ranks.share(time.monotonic() - self.since > SHORTEST):
            self.release()
            self.take()


class NoTurn(Turn):
    """Work that needs no cores, or that is part of a turn."""

    def take(self) -> None:
        """Nothing."""

    def pass_on(self) -> None:
        """Nothing."""


@contextmanager
def turn(device: torch.device) -> Iterator[Turn]:
    """Hold as many cores as torch has threads for the block; waits until they are free.

    For seconds or minutes of work on a processor; what takes longer calls ``pass_on`` from time to time. On
    other devices nothing happens, and a turn within a turn is the same one. Turns are those of one user's
    processes that may run on the same cores; a process that ends or stops, however it does, holds none.
    """
    if device.type != "cpu" or lock_some is None or getattr(_own, "held", False):
        yield NoTurn()
        return
    one = Turn()
    _own.held = True
    try:
        one.take()
        yield one
    finally:
        _own.held = False
        one.release()


def _take() -> ExitStack:
    """Wait for cores, which are held until what is returned is closed; raises OSError without locks."""
    directory, cores = _directory(), usable_cores()
    wanted = min(ranks.count() * torch.get_num_threads(), len(cores))
    line = directory / f"line-{min(cores)}-{max(cores)}-{len(cores)}"
    # Who comes first waits for cores, others for the line: a run whose turn ends does not get the next.
    with _wait(lambda: lock_some([line], 1)):
        return _wait(lambda: lock_some([directory / f"core-{core}" for core in cores], wanted))


def _wait(attempt: Callable[[], ExitStack | None]) -> ExitStack:
    while (held := attempt()) is None:
        time.sleep(POLL * _pause.uniform(0.5, 1.5))
    return held


def usable_cores() -> list[int]:
    """The cores that this process may run on: as many of them as a container's share of time amounts to."""
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = list(range(os.cpu_count() or 1))
    with suppress(OSError, ValueError):  # no limit where there is no such file, or it says "max"
        quota, period = map(int, CONTAINER_LIMIT.read_text(encoding="ascii").split())
        cores = cores[: max(1, quota // period)]
    return cores


def _directory() -> Path:
    """Where locks lie: on this machine, as a home may not. Raises OSError if it is another user's."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    directory = Path(tempfile.gettempdir()) / f"der-cores-{user}"
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or (user != "" and status.st_uid != user):
        raise PermissionError(directory)
    return directory
