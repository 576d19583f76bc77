"""Processes that watch each other: one that ends or hangs ends all, with one sentence.

A thread of each gives signs of life and looks for those of others. A process that is stopped, or whose
interpreter is stuck, gives none, whatever it was doing and whatever the others wait for. Time is counted in
looks, so that a machine that slept has lost nobody.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from der.pipeline.processes import PARENT, STORE, count_processes, own_rank

LOOK = 0.2  # seconds between two looks
SILENT = 225  # looks without a sign, after which a process counts as lost: 45 seconds
NAMING = 3  # seconds for one to find out who is lost, and to say so, before another does
PATIENCE = 8  # seconds for the first process to end the others
HAS_SAID = 3  # exit status of a process that has said why it ends
AGAIN = "run again: it goes on from the last epoch"

_ending = threading.Lock()  # for the thread that says why all end; nobody releases it


class Signs:
    """A process's signs of life, by ``give``, and those of ``others``, by ``read``: each another number."""

    def __init__(self, others: Iterable[int], give: Callable[[], object], read: Callable[[int], int]) -> None:
        self.give = give
        self.read = read
        self.seen = dict.fromkeys(others, (0, 0))  # the last sign, and looks since

    def exchange(self) -> list[int]:
        """Give a sign, and look for those of the others; returns those that are lost."""
        self.give()
        for rank, (last, looks) in self.seen.items():
            sign = self.read(rank)
            self.seen[rank] = sign, looks + 1 if sign == last else 0
        return [rank for rank, (_, looks) in self.seen.items() if looks >= SILENT]


def signs_by_files(store: str, own: int, others: Iterable[int]) -> Signs:
    """Signs of processes that meet at the file ``store``: when the files beside it were touched."""

    def give() -> None:
        with suppress(OSError):
            Path(f"{store}.{own}").touch()

    def read(rank: int) -> int:
        with suppress(OSError):
            return Path(f"{store}.{rank}").stat().st_mtime_ns
        return 0  # not yet

    return Signs(others, give, read)


@contextmanager
def watching(others: Sequence[subprocess.Popen[bytes]], store: str) -> Iterator[None]:
    """End this process, the first, and ``others`` as soon as one of those has failed or hangs.

    It may itself be waiting for them, or for other runs.
    """
    signs = signs_by_files(store, 0, range(1, len(others) + 1))
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            sentence = _find_lost(others, signs)
            if sentence is not None and _ending.acquire(blocking=False):
                kill(others)
                if sentence:
                    say(sentence)
                os._exit(1)  # at any moment: outputs and training state are whole or absent

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _find_lost(others: Sequence[subprocess.Popen[bytes]], signs: Signs) -> str | None:
    """What is to be said of a process that is lost, if one is; nothing if it has said it itself."""
    silent = signs.exchange()
    for rank, other in enumerate(others, start=1):
        status = other.poll()
        if status == HAS_SAID:
            return ""
        hangs = status is None and rank in silent
        if hangs or status not in (None, 0):
            what = "does not answer" if hangs else "has ended"
            return _describe(rank, len(others) + 1, what)
    return None


def _describe(rank: int, count: int, what: str) -> str:
    return f"process {rank} of {count} (counted from 0) {what}; {AGAIN}"


def say(sentence: str) -> None:
    """Tell the user why all end."""
    print(f"error: {sentence}", file=sys.stderr, flush=True)


def kill(others: Sequence[subprocess.Popen[bytes]]) -> None:
    """End them at once."""
    for other in others:
        other.kill()


def prepare_end(others: Sequence[subprocess.Popen[bytes]]) -> None:
    """End ``others`` before this process, the first, says that one is lost, unless the thread says which."""
    time.sleep(NAMING)
    _ending.acquire()
    kill(others)


def follow_first() -> None:
    """Have this process, which the first has started, end with it, and end it if it hangs."""
    parent = int(os.environ[PARENT])
    signs = signs_by_files(os.environ[STORE], own_rank(), [0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal all hear it, and the first ends the others

    def watch() -> None:
        while os.getppid() == parent:
            if signs.exchange():
                _end_first(parent)
            time.sleep(LOOK)
        os._exit(1)  # nothing is written here

    threading.Thread(target=watch, daemon=True).start()


def outlive_first() -> NoReturn:
    """Wait until the first process ends this one, as it does if another is lost; end it if it hangs."""
    time.sleep(PATIENCE)
    _end_first(int(os.environ[PARENT]))
    sys.exit(1)


def _end_first(parent: int) -> None:
    time.sleep(NAMING * min(own_rank() - 1, 2))  # one after the other, so that one says it for all
    if os.getppid() == parent and _ending.acquire(blocking=False):
        say(f"the first process hangs and is ended; {AGAIN}")
        os.kill(parent, signal.SIGKILL)


@contextmanager
def watching_next() -> Iterator[None]:
    """Have those that torchrun has started watch each other in a ring; it ends all when one has ended.

    Until the block ends nobody may be done before the others.
    """
    from torch._C._distributed_c10d import TCPStore  # torch costs seconds

    rank, count = own_rank(), count_processes()
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))  # torchrun's own

    def read(rank: int, more: int = 0) -> int:
        return int(store.add(f"der signs of {rank}", more))

    signs, over = Signs([(rank + 1) % count], lambda: read(rank, 1), read), threading.Event()
    thread = threading.Thread(target=_watch_next, args=(signs, count, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()  # within the store, the end of Python would abort the process


def _watch_next(signs: Signs, count: int, over: threading.Event) -> None:
    with suppress(RuntimeError):  # torchrun is gone, which ends all, too
        while not (lost := signs.exchange()):
            if over.wait(LOOK):
                return
        if over.wait(PATIENCE):  # for one that waits for its part of the work, and says so
            return
        say(_describe(lost[0], count, "does not answer"))
    os._exit(1)
