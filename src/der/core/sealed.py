"""Directories and JSON files that hold the digests of their content, which reading checks.

A bit that flips on the disk, or in a cache that trusts its objects, is then an error, never a wrong number.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from der.core.errors import DamageError, UserError
from der.core.files import atomic_directory, read_array, read_json, regular, write_json

MANIFEST = "manifest.json"


@contextmanager
def sealed_directory(path: Path, known: Mapping[str, str] | None = None) -> Iterator[Path]:
    """As ``atomic_directory``, with a manifest; ``known``: digests of files linked from a sealed one."""
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
        """Read a JSON file."""
        return read_json(self.file(name))

    def read_array(self, name: str, *, mapped: bool = False) -> NDArray[Any]:
        """Read a .npy array, as a read-only memory map if ``mapped``."""
        return read_array(self.file(name), mapped=mapped)

    def bytes(self) -> int:
        """Sum the bytes of all files but the manifest."""
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


def digest_file(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes."""
    with regular(path).open("rb") as stream:
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
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
