"""Directories that one process at a time works in, and that are removed only when nobody uses them.

Whoever works in a directory holds the lock on its file ``lock``; the first of those who wait for it holds the
one on ``waiting``. Directories are made and removed, and locks tried, only under the lock on GUARD beside
them: a file whose lock is tried is never one that was removed just now.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

GUARD = "der.lock"  # stays, empty
LOCK = "lock"
WAITING = "waiting"
HOLDER = "holder"  # a file that says which process holds the lock
POLL = 0.1  # seconds between two looks at a lock that another process holds


@contextmanager
def working_in(directory: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold ``directory``, made if need be; waits for a process that does, of which ``warn`` hears a sentence.

    Raises OSError if the directory or a file in it cannot be written.
    """
    lock = _take(directory, warn)
    try:
        (directory / HOLDER).write_text(f"process {os.getpid()}", encoding="utf-8")
        yield
    finally:
        lock.release()


def _take(directory: Path, warn: Callable[[str], None]) -> BaseFileLock:
    """The lock on ``directory``, held."""
    lock, waiting = FileLock(directory / LOCK), FileLock(directory / WAITING)
    told = False
    while True:
        with _guarding(directory.parent):
            directory.mkdir(exist_ok=True)
            os.utime(directory)  # in use again, however old
            if _try(lock):
                return lock
            first = _try(waiting)
        if not told:
            warn(f"{directory}: in use by {_read_holder(directory)}; waiting until it ends")
            told = True
        if first:
            return _wait_for(lock, waiting)
        time.sleep(POLL)


def _wait_for(lock: BaseFileLock, waiting: BaseFileLock) -> BaseFileLock:
    """``lock``, held; nobody removes the directory, for ``waiting`` is held until then."""
    try:
        lock.acquire(poll_interval=POLL)
    finally:
        waiting.release()
    return lock


def _guarding(root: Path) -> BaseFileLock:
    root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / GUARD)


def _try(lock: BaseFileLock) -> bool:
    """Take a lock, unless others hold it."""
    with suppress(Timeout):
        lock.acquire(timeout=0)
    return lock.is_locked


def _read_holder(directory: Path) -> str:
    with suppress(OSError, UnicodeError):  # not written yet
        return (directory / HOLDER).read_text(encoding="utf-8")
    return "another process"


def remove_unused(directory: Path) -> None:
    """Remove a directory, unless a process works in it or waits to; what the user may not remove stays."""
    with suppress(OSError, Timeout), _guarding(directory.parent):
        if (directory / LOCK).exists():  # else another process has removed it
            with (
                FileLock(directory / WAITING).acquire(timeout=0),
                FileLock(directory / LOCK).acquire(timeout=0),
            ):
                shutil.rmtree(directory, ignore_errors=True)
