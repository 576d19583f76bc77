"""Damage of results and of DVC's cache: found, and removed so that the next `dvc repro` makes it again."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from der.common.atomic import PARTIAL, atomic_file
from der.common.errors import DamageError, UserError
from der.common.filesystem import from_here
from der.common.sealed import find_damage
from der.project.graph import list_stages
from der.project.lockfile import LOCK, read_outputs
from der.project.outputs import list_outputs
from der.project.paths import FINGERPRINTS, SEALED
from der.project.running_code import check_fingerprint

OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")  # MD5 of the object's bytes; .dir of a list of files
LAST = ("summarize",)  # whose outputs are not sealed: tables, pictures
CACHE_MODE = 0o444  # DVC believes objects of this mode, without looking


class Damage(NamedTuple):
    """A file that is not as it was written."""

    sentence: str
    remove: Path  # that file, or the directory that is made again with it


def find_all_damage() -> list[Damage]:
    """Damage in DVC's cache, of sealed directories, of the fingerprints of code and of the last stages'."""
    return [*find_damaged_objects(find_cache()), *find_damaged_results(), *find_damaged_views()]


def find_cache() -> Path:
    """The directory of DVC's objects; raises UserError outside a repository."""
    from dvc.exceptions import DvcException  # DVC costs a second
    from dvc.repo import Repo

    try:
        return Path(Repo().cache.local.path)
    except DvcException as error:
        raise UserError(f"dvc: {error}; run in a clone of the repository") from None


def find_damaged_objects(cache: Path) -> Iterator[Damage]:
    """Objects whose bytes have another hash than their names say."""
    for path in sorted(cache.glob("??/*")):
        name = path.parent.name + path.name
        if OBJECT.fullmatch(name) and hash_file(path) != name.removesuffix(".dir"):
            yield Damage(f"{from_here(path)}: damaged, an object of DVC's cache", path)


def find_damaged_results() -> Iterator[Damage]:
    """What is damaged of the files that stages read."""
    for directory in sorted(path for pattern in SEALED for path in Path().glob(pattern)):
        if directory.suffix != PARTIAL:
            for error in find_damage(directory):
                yield Damage(str(error), directory)
    for path in sorted(FINGERPRINTS.glob("*")):
        try:
            check_fingerprint(path)
        except DamageError as error:
            yield Damage(str(error), path)


def find_damaged_views() -> Iterator[Damage]:
    """What has other bytes than DVC records, of the outputs that are for people."""
    for path, recorded in read_outputs(LAST).items():
        if path.exists() and hash_output(path) != recorded:
            yield Damage(f"{path}: other bytes than {LOCK} records of it", path)


def repair(damages: list[Damage]) -> Iterator[str]:
    """Remove what is damaged, or put an object back of which the results hold the bytes; says what was done.

    Objects first: their bytes may lie beside another file that is damaged.
    """
    copies = read_copies()
    for sentence, path in damages:
        intact = copies.get(path.parent.name + path.name)
        if intact is not None:
            content = intact.read_bytes() if isinstance(intact, Path) else intact
            put_object(path, content)
            yield f"{sentence}; put back"
        elif path.is_dir():
            shutil.rmtree(path)
            yield f"{sentence}; removed {path}"
        else:
            path.unlink(missing_ok=True)
            yield f"{sentence}; removed"


def read_copies() -> dict[str, Path | bytes]:
    """The results by the names of DVC's objects that hold the same: files, and listings of directories."""
    copies: dict[str, Path | bytes] = {}
    stages = [stage for names in list_stages().values() for stage in names]
    for output in [output for stage in stages for output in list_outputs(stage)]:
        hashes = hash_files(output)
        copies |= {digest: output / name for name, digest in hashes.items()}
        if output.is_dir():
            listing = list_files(hashes)
            copies[_name_listing(listing)] = listing
    return copies


def hash_files(output: Path) -> dict[str, str]:
    """The hashes of an output's files, by their names in it; "." if it is a file."""
    files = sorted(path for path in (output, *output.rglob("*")) if path.is_file())
    return {file.relative_to(output).as_posix(): hash_file(file) for file in files}


def hash_output(path: Path) -> str:
    """The name of DVC's object for a file, or for the listing of a directory."""
    return _name_listing(list_files(hash_files(path))) if path.is_dir() else hash_file(path)


def _name_listing(listing: bytes) -> str:
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
