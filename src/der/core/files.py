"""Files and directories that are whole or absent; sealed ones hold the digests of their content.

They are written beside their final place and then renamed. Reading runs nothing, and checks the digests: a
bit that flips on the disk, or in a cache that trusts its objects, is an error and never a wrong number.
"""

import csv
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.core.errors import DamageError, UserError

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
    """Yield an empty directory to fill; it replaces ``path`` only if the block succeeds.

    The old directory stays until the new one is there. After a kill between the two renamings it lies beside
    ``path``, and the next call puts it back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    _settle(path)  # left by a killed run
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
    """Flush a file to the disk, so that a power cut cannot leave it renamed but empty."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_names(directory: Path) -> None:
    """Flush a directory's names to the disk, so that a power cut cannot undo a renaming."""
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
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({_reason(error)})") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows as CSV in UTF-8; texts of users need ``csv_cell`` first."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def write_array(path: Path, array: NDArray[Any]) -> None:
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def read_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Read a .npy file, as a read-only memory map if ``mapped``; never unpickles."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        return array
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as a .npy array ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def prefetch(array: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Make the system read these rows from disk in the background; returns at once."""
    found = _map_of(array)
    if found is None or not hasattr(mmap, "MADV_WILLNEED"):
        return
    size = array[0].nbytes
    for row in rows.tolist():
        begin = array.offset + row * size  # type: ignore[attr-defined]
        start = begin - begin % mmap.PAGESIZE
        found.madvise(mmap.MADV_WILLNEED, start, begin + size - start)


def release(array: NDArray[Any]) -> None:
    """Release the memory of rows that were read; the system's cache keeps them while it has room."""
    found = _map_of(array)
    if found is not None and hasattr(mmap, "MADV_DONTNEED"):
        found.madvise(mmap.MADV_DONTNEED)


def mapped_bytes(array: NDArray[Any]) -> int:
    """Return the bytes of a memory-mapped array; 0 for an array in memory."""
    return 0 if _map_of(array) is None else array.nbytes


def _map_of(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the memory map of a whole file, unless it is writable: changes would be lost."""
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


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def from_here(path: Path) -> Path:
    """Return ``path`` from the current directory, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


MANIFEST = "manifest.json"


@contextmanager
def sealed_directory(path: Path, known: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Like ``atomic_directory``, with a manifest; ``known`` has digests of files linked from a sealed one."""
    with atomic_directory(path) as directory:
        yield directory
        seal(directory, known or {})


def seal(directory: Path, known: Mapping[str, str]) -> None:
    """Write the manifest of the files in ``directory`` and below; see ``sealed_directory``."""
    files = {file.relative_to(directory).as_posix(): file for file in directory.rglob("*") if file.is_file()}
    files.pop(MANIFEST, None)
    digests = {name: known.get(name) or digest_file(files[name]) for name in sorted(files)}
    write_json(directory / MANIFEST, {"digest": _digest_of(digests), "files": digests})


class SealedDirectory:
    """Reads what ``sealed_directory`` wrote; raises DamageError for a file that is missing or was changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digests = _read_sealed(path / MANIFEST, "files")  # of every file, by its name
        self.digest = _digest_of(self.digests)  # of all files

    def file(self, name: str) -> Path:
        """Return the path of a file, whose bytes are checked."""
        path = self.path / name
        try:
            intact = digest_file(path) == self.digests.get(name)
        except OSError as error:
            raise DamageError(f"{path}: cannot be read ({error.strerror})") from None
        if not intact:
            raise DamageError(f"{path}: damaged, its bytes are not those that were written")
        return path

    def read_json(self, name: str) -> Any:
        return read_json(self.file(name))

    def read_array(self, name: str, *, mapped: bool = False) -> NDArray[Any]:
        return read_array(self.file(name), mapped=mapped)

    def bytes(self) -> int:
        return sum((self.path / name).stat().st_size for name in self.digests)


def find_damage(path: Path) -> list[DamageError]:
    """List what is wrong with the sealed directory ``path``: an error for every file that cannot be read."""
    damage = []
    try:
        directory = SealedDirectory(path)
    except DamageError as error:
        return [error]
    for name in directory.digests:
        try:
            directory.file(name)
        except DamageError as error:
            damage.append(error)
    return damage


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file with its own digest."""
    write_json(path, {"digest": _digest_of(values), "values": values})


def read_sealed(path: Path) -> Any:
    """Read what ``write_sealed`` wrote; raises DamageError if the file is missing or was changed."""
    return _read_sealed(path, "values")


def _read_sealed(path: Path, key: str) -> dict[str, Any]:
    """Read the dictionary under ``key`` of a JSON file that has its digest beside it."""
    try:
        content = read_json(path)
    except UserError as error:
        raise DamageError(str(error)) from None
    values = content.get(key) if isinstance(content, dict) else None
    if not isinstance(values, dict) or content != {"digest": _digest_of(values), key: values}:
        raise DamageError(f"{path}: damaged, its bytes are not those that were written")
    return values


def _digest_of(values: Mapping[str, Any]) -> str:
    return digest(json.dumps(values, sort_keys=True).encode())
