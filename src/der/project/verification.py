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
from der.common.sealed import find_damage
from der.project.graph import list_stages
from der.project.paths import FINGERPRINTS, SEALED
from der.project.running_code import check_fingerprint
from der.project.timing import list_outputs

OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")  # MD5 of the object's bytes; .dir of a list of files
CACHE_MODE = 0o444  # DVC believes objects of this mode, without looking


class Damage(NamedTuple):
    """A file that is not as it was written."""

    sentence: str
    remove: Path  # that file, or the directory that is made again with it


def find_all_damage() -> list[Damage]:
    """Damage in DVC's cache, of sealed directories and of the fingerprints of code."""
    return [*find_damaged_objects(find_cache()), *find_damaged_results()]


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
            yield Damage(f"{shorten(path)}: damaged, an object of DVC's cache", path)


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
        files = sorted(path for path in (output, *output.rglob("*")) if path.is_file())
        hashes = {file: hash_file(file) for file in files}
        copies |= {digest: file for file, digest in hashes.items()}
        if output.is_dir():
            listing = list_files({path.relative_to(output).as_posix(): hashes[path] for path in files})
            copies[f"{hashlib.md5(listing).hexdigest()}.dir"] = listing
    return copies


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


def shorten(path: Path) -> Path:
    """``path`` from here, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
