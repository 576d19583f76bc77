"""Files and directories that are whole or absent: written beside their place, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial"  # suffix of what is still being written; ignored by git and DVC


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
    """Yield an empty directory to fill; it becomes ``path``, replacing it, only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
    partial.mkdir()
    try:
        yield partial
        for name in (*partial.rglob("*"), partial):
            (_flush_names if name.is_dir() else _flush)(name)
        if path.exists():
            shutil.rmtree(path)
        partial.replace(path)
        _flush_names(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
