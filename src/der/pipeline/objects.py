"""DVC's objects: where they lie, how it names files and directories, and whether it has what is here."""

import hashlib
import json
import re
from pathlib import Path

from der.core.errors import UserError
from der.core.files import atomic_file

OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")  # MD5 of the object's bytes; .dir of a list of files
CACHE_MODE = 0o444  # DVC believes objects of this mode, without looking


def find_cache() -> Path:
    """The directory of DVC's objects; raises UserError outside a repository."""
    from dvc.exceptions import DvcException  # DVC costs a second
    from dvc.repo import Repo

    try:
        return Path(Repo().cache.local.path)
    except DvcException as error:
        raise UserError(f"dvc: {error}; run in a clone of the repository") from None


def find_object(cache: Path, name: str) -> Path:
    """Where the cache has, or would have, an object."""
    return cache / name[:2] / name[2:]


def holds(cache: Path, path: Path) -> bool:
    """Whether the cache has the bytes of a file, or of a directory's files with their listing."""
    hashes = hash_files(path)
    return all(find_object(cache, name).exists() for name in (*hashes.values(), _name_output(path, hashes)))


def hash_files(output: Path) -> dict[str, str]:
    """The hashes of an output's files, by their names in it; "." if it is a file."""
    return {file.relative_to(output).as_posix(): hash_file(file) for file in find_files(output)}


def find_files(output: Path) -> list[Path]:
    """The files that a stage has left: file managers add hidden ones, stages none."""
    found = (output, *output.rglob("*"))
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def hash_output(path: Path) -> str:
    """The name of DVC's object for a file, or for the listing of a directory."""
    return _name_output(path, hash_files(path))


def _name_output(path: Path, hashes: dict[str, str]) -> str:
    return name_listing(list_files(hashes)) if path.is_dir() else hashes["."]


def name_listing(listing: bytes) -> str:
    """The name of DVC's object for a directory."""
    return f"{hashlib.md5(listing, usedforsecurity=False).hexdigest()}.dir"


def list_files(hashes: dict[str, str]) -> bytes:
    """The bytes of DVC's object for a directory, from the hashes of the files in it and below."""
    entries = [{"md5": hashes[name], "relpath": name} for name in sorted(hashes)]
    return json.dumps(entries).encode()


def put_object(path: Path, content: bytes) -> None:
    """Replace an object of the cache."""
    with atomic_file(path) as partial:
        partial.write_bytes(content)
        partial.chmod(CACHE_MODE)


def hash_file(path: Path) -> str:
    """The MD5 of a file's bytes, by which DVC names it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
