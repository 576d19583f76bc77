"""Files and directories that are whole or absent: written beside their place, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial"  # suffix of what is still being written; ignored by git and DVC
ASIDE = ".old" + PARTIAL  # of a directory that is being replaced


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes ``path`` only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        _flush(partial)
        partial.replace(path)
        _flush_names(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory to fill; it becomes ``path``, replacing it, only if the block succeeds.

    What is replaced is there until the new one is: after a kill between the two it lies beside ``path``, and
    the next call puts it back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    _settle(path)  # what a run that was killed left
    partial.mkdir()
    try:
        yield partial
        for name in (*partial.rglob("*"), partial):
            (_flush_names if name.is_dir() else _flush)(name)
        if path.is_dir() and not path.is_symlink():
            path.replace(path.with_name(path.name + ASIDE))
        partial.replace(path)
        _flush_names(path.parent)
    finally:
        _settle(path)


def _settle(path: Path) -> None:
    """Leave ``path`` alone: what was put aside comes back if nothing came in its place, the rest goes."""
    aside = path.with_name(path.name + ASIDE)
    if aside.exists() and not path.exists():
        aside.replace(path)
    for left in (aside, path.with_name(path.name + PARTIAL)):
        shutil.rmtree(left, ignore_errors=True)


def _flush(path: Path) -> None:
    """Bring a file's bytes to the disk, so that a power cut cannot leave it renamed but empty."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_names(directory: Path) -> None:
    """Bring the names in a directory to the disk, so that a power cut cannot undo a renaming."""
    with suppress(OSError):  # some file systems cannot
        _flush(directory)
