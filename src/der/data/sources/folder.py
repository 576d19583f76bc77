"""Anyone's images: train/<class>/*, and test/<class>/* if there is one, in a directory or an archive."""

import os
import shutil
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from der.common.errors import UserError
from der.data.sources.archives import unpack
from der.data.sources.class_images import ClassImages, Images, hold_out
from der.data.sources.decoding import read_picture
from der.data.sources.tree import Entry, build_tree, check_splits, scan, unwrap
from der.settings.dataset import DatasetSettings

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
MOST_THREADS = 8  # each holds a whole picture in memory
MOST_NAMED = 20  # pictures in a message


class Fault(NamedTuple):
    """A picture that cannot be read."""

    place: str
    sentence: str


def folder(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """Yield the classes found under ``settings.path`` in alphabetical order, images in that of their names.

    Without a folder test, a fraction of every class is held out. An archive is unpacked into ``scratch``,
    which is made for that and removed in the end. Files that are no pictures by their names are passed over;
    the first class has their number. Raises UserError that names the file or class for everything wrong with
    the tree, and in the end the pictures that cannot be read; after the first of those, no class is yielded.
    """
    path = Path(settings.path)
    if path.is_dir():
        yield from _classes(list(scan(path)), str(path), settings)
    elif not path.exists():
        raise UserError(f"{path}: there is no such directory or archive; put one there or edit dataset.path")
    elif not path.is_file() or not path.name.lower().endswith(ARCHIVES):
        raise UserError(f"{path}: neither a directory nor a {', '.join(ARCHIVES)} file; edit dataset.path")
    else:
        scratch.mkdir(parents=True)
        try:
            wrapper, entries = unwrap(unpack(path, scratch))
            yield from _classes(entries, "/".join((str(path), *wrapper)), settings)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _classes(
    entries: list[Entry], where: str, settings: DatasetSettings
) -> Generator[ClassImages, None, None]:
    splits, passed_over = build_tree(entries, where)
    check_splits(splits, where)
    faults: list[Fault] = []
    # Two threads that open pictures while Pillow still loads its formats can miss one.
    Image.init()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        for name in sorted(splits["train"]):
            train = _read_all(pool, splits["train"][name], where, settings, faults)
            if "test" in splits:
                one = ClassImages(name, train, _read_all(pool, splits["test"][name], where, settings, faults))
            else:
                one = hold_out(name, train, settings)
            if not faults:  # else the other pictures are looked at, so that one message names all
                yield one._replace(passed_over=passed_over)
                passed_over = 0
    if faults:
        raise UserError(_describe(faults))


def _read_all(
    pool: ThreadPoolExecutor,
    entries: list[Entry],
    where: str,
    settings: DatasetSettings,
    faults: list[Fault],
) -> Images:
    """Decode files to uint8 (n, image_side, image_side, channels); ``faults`` gets those that cannot be."""
    side, channels = settings.image_side, settings.channels
    images = np.empty((len(entries), side, side, channels), np.uint8)

    def read(index: int) -> Fault | None:
        parts, file = entries[index]
        assert file is not None, parts
        place = "/".join((where, *parts))
        try:
            images[index] = read_picture(file, place, side, channels)
        except UserError as error:
            return Fault(place, str(error))
        return None

    faults += filter(None, pool.map(read, range(len(entries))))  # in the order of names
    return images


def _describe(faults: list[Fault]) -> str:
    """One sentence about all pictures that cannot be read."""
    if len(faults) == 1:
        return faults[0].sentence
    names = ", ".join(fault.place for fault in faults[:MOST_NAMED])
    more = f" and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
    return f"{len(faults)} pictures cannot be read or are too large; repair or remove them: {names}{more}"
