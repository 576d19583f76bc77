"""Damage of results and of DVC's cache: found, and removed so that the next `dvc repro` makes it again."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from der.core.errors import DamageError
from der.core.files import from_here
from der.core.sealed import find_damage
from der.pipeline.graph import list_stages, read_stages
from der.pipeline.lockfile import LOCK, read_outputs
from der.pipeline.objects import (
    OBJECT,
    find_cache,
    hash_file,
    hash_files,
    hash_output,
    list_files,
    name_listing,
    put_object,
)
from der.pipeline.outputs import list_outputs
from der.pipeline.params import read_side
from der.pipeline.paths import INPUT, fingerprint, sealed
from der.pipeline.running_code import check_fingerprint
from der.pipeline.steps import chain_length

LAST = ("summarize",)  # whose outputs are not sealed: tables, pictures


class Damage(NamedTuple):
    """A file that is not as it was written."""

    sentence: str
    remove: Path  # that file, or the directory that is made again with it


def find_all_damage() -> list[Damage]:
    """Damage in DVC's cache, of what stages read of each other, and of what the last leave."""
    return [*find_damaged_objects(find_cache()), *find_damaged_results(), *find_damaged_views()]


def find_damaged_objects(cache: Path) -> Iterator[Damage]:
    """Objects whose bytes have another hash than their names say."""
    for path in sorted(cache.glob("??/*")):
        name = path.parent.name + path.name
        if not OBJECT.fullmatch(name):
            continue
        if not path.is_file() or hash_file(path) != name.removesuffix(".dir"):
            yield Damage(f"{from_here(path)}: damaged, an object of DVC's cache", path)


def find_damaged_results() -> Iterator[Damage]:
    """What is damaged of the files that stages read; what else lies among them is no concern of ours."""
    for directory in sealed(chain_length()):
        if directory.exists():
            for error in find_damage(directory):
                yield Damage(str(error), directory)
    for path in filter(Path.exists, (INPUT, *map(fingerprint, read_stages()))):
        try:
            read_side() if path == INPUT else check_fingerprint(path)
        except DamageError as error:
            yield Damage(str(error), path)


def find_damaged_views() -> Iterator[Damage]:
    """What has other bytes than DVC records, of the outputs that are for people."""
    outputs = read_outputs()
    for stage in LAST:
        for path, recorded in outputs.get(stage, {}).items():
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
            copies[name_listing(listing)] = listing
    return copies
