"""Files and directories that are whole or absent, JSON and .npy files among them.

They are written beside their place and then renamed, and read without running anything.
"""

import errno
import json
import mmap
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError

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

    The old directory stays until the new one is there: after a kill between the two renamings it lies beside
    ``path``, and the next call puts it back.
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
    """Put the old directory back if no new one came in its place, and remove what is left beside ``path``."""
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


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON; NaN and infinity are refused."""
    with atomic_file(path) as partial:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON; raises UserError naming the file if it is missing or damaged, or holds NaN or infinity."""
    try:
        return json.loads(regular(path).read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({_reason(error)})") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file."""
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def read_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Read a .npy file, as a read-only memory map if ``mapped``; never unpickles."""
    try:
        array: NDArray[Any] = np.load(regular(path), mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as a .npy array ({_reason(error)})") from None
    return array


def _reason(error: Exception) -> str:
    """Say what is wrong, without the system's number and the path."""
    return getattr(error, "strerror", None) or str(error)


def prefetch(array: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Have the system read these rows from disk while others are worked on; returns at once."""
    found = _map_of(array)
    if found is None or not hasattr(mmap, "MADV_WILLNEED"):
        return
    size = array[0].nbytes
    for row in rows.tolist():
        begin = array.offset + row * size  # type: ignore[attr-defined]
        start = begin - begin % mmap.PAGESIZE
        found.madvise(mmap.MADV_WILLNEED, start, begin + size - start)


def release(array: NDArray[Any]) -> None:
    """Give the memory of what was read back; it stays in the system's cache as long as there is room."""
    found = _map_of(array)
    if found is not None and hasattr(mmap, "MADV_DONTNEED"):
        found.madvise(mmap.MADV_DONTNEED)


def mapped_bytes(array: NDArray[Any]) -> int:
    """The bytes of an array that lies in a file; 0 of one in memory."""
    return 0 if _map_of(array) is None else array.nbytes


def _map_of(array: NDArray[Any]) -> mmap.mmap | None:
    """The map of a whole file's array, unless it may have been written to: changes would be lost."""
    found = getattr(array, "_mmap", None)
    if not isinstance(found, mmap.mmap) or not isinstance(array, np.memmap):
        return None
    return found if array.mode != "c" else None


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def expand_home(path: str) -> Path:
    """Replace "~" in ``path`` by the user's home directory; raises UserError if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: there is no such home directory; write the whole path") from None


def regular(path: Path) -> Path:
    """Return ``path`` for opening; raises OSError unless it is a file, as a pipe or a device never ends."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no file", str(path))
    return path


def existing(path: Path) -> Path:
    """Return ``path``, or the nearest folder around it that exists: they are on one disk."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def from_here(path: Path) -> Path:
    """Return ``path`` from the current directory, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
