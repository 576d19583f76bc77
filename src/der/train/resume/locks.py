"""Directories that one process at a time works in: it holds a lock on a file in each."""

import fcntl
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

LOCK = "lock"  # the file whose lock the process at work holds
WAITING = "waiting"  # a file on which all who wait for that lock hold a shared one


def lock_now(file: IO[bytes]) -> bool:
    """Take the lock of a file, unless others hold it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_unused(directory: Path) -> None:
    """Remove a directory, unless a process works in it or waits to; also if another removes it just now."""
    with suppress(FileNotFoundError), (directory / LOCK).open("r+b") as lock:
        if lock_now(lock):
            with (directory / WAITING).open("ab") as waiting:
                if lock_now(waiting):
                    shutil.rmtree(directory, ignore_errors=True)
