"""Locks on files whose holders show that they live: one that was stopped, and not ended, is passed over.

A lock ends with its process, but a process that is stopped, by Ctrl-Z, holds its locks as long as it likes.
So who holds a lock touches its file from time to time. Not on Windows.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

BEAT = 10.0  # seconds between two signs of life
PATIENCE = 120.0  # seconds without one, after which a holder counts as stopped
TRUST = 6 * 3600.0  # seconds that a holder shows life for: one that hangs must not be waited for, either


def lock_some(paths: Sequence[Path], wanted: int) -> ExitStack | None:
    """Lock ``wanted`` of the files until what is returned is closed, or None: others hold too many.

    Holds none of them then: who held some and waited for more could wait for ever. Raises OSError where
    files cannot be made or locked, or no sign of life be shown.
    """
    with ExitStack() as held:
        locked: list[Path] = []
        for tried, path in enumerate(paths):
            if len(locked) == wanted or wanted - len(locked) > len(paths) - tried:
                break
            if _lock(path, held):
                locked.append(path)
        if len(locked) < wanted:
            return None
        held.enter_context(_showing_life(locked))
        return held.pop_all()


def _lock(path: Path, held: ExitStack) -> bool:
    """Lock a file until ``held`` is closed, unless another holds it."""
    with ExitStack() as opened:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        opened.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.time() - os.fstat(descriptor).st_mtime > PATIENCE:
                _pass_over(path, descriptor)
            return False
        # Not closed alone: a process forked meanwhile has the file open, too, and would keep the lock.
        opened.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
        os.utime(descriptor)
        held.enter_context(opened.pop_all())
    return True


def _pass_over(path: Path, descriptor: int) -> None:
    """Leave the file to its holder: whoever tries ``path`` next makes a new one."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            path.unlink()


@contextmanager
def _showing_life(paths: Sequence[Path]) -> Iterator[None]:
    ended = threading.Event()
    try:
        threading.Thread(target=_touch, args=(paths, ended), daemon=True).start()
    except RuntimeError as error:  # the system has no thread to give
        raise OSError(str(error)) from None
    try:
        yield
    finally:
        ended.set()


def _touch(paths: Sequence[Path], ended: threading.Event) -> None:
    until = time.monotonic() + TRUST
    while time.monotonic() < until and not ended.wait(BEAT):
        for path in paths:
            with suppress(OSError):
                os.utime(path)
