"""Files that are whole or absent: written beside their place, then renamed."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.common.errors import UserError

PARTIAL = ".partial"  # suffix of what is still being written; ignored by git and DVC


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
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
def whole_directory(path: Path) -> Iterator[Path]:
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


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def directory_bytes(path: Path) -> int:
    """Bytes of all files in a directory and below."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON; NaN and infinity are refused."""
    with whole_file(path) as partial:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON; raises UserError naming the file if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file."""
    with whole_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def read_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Read a .npy file, as a read-only memory map if ``mapped``; never unpickles."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as a .npy array ({error})") from None
    return array
