"""Anyone's images: train/<class>/*, and test/<class>/* if there is one, in a directory or an archive."""

import os
import shutil
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from der.common.errors import UserError
from der.data.sources.archives import unpack
from der.data.sources.class_images import ClassImages, Images, hold_out
from der.data.sources.decoding import read_picture
from der.data.sources.tree import Entry, Tree, build_tree, check_tree, scan, unwrap
from der.settings.dataset import DatasetSettings

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
MOST_THREADS = 8  # each holds a whole picture in memory


def folder(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """Yield the classes found under ``settings.path`` in alphabetical order, images in that of their names.

    Without a folder test, a fraction of every class is held out. An archive is unpacked into ``scratch``,
    which is made for that and removed in the end. Raises UserError that names the file or class for
    everything wrong with the tree or a picture in it.
    """
    path = Path(settings.path)
    if path.is_dir():
        yield from _classes(list(scan(path)), str(path), settings)
    elif not path.exists():
        raise UserError(f"{path}: there is no such directory or archive; put one there or edit dataset.path")
    elif not path.name.lower().endswith(ARCHIVES):
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
    tree: Tree = build_tree(entries, where)
    check_tree(tree, where)
    # Two threads that open pictures while Pillow still loads its formats can miss one.
    Image.init()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        for name in sorted(tree["train"]):
            train = _read_all(pool, tree["train"][name], where, settings)
            if "test" in tree:
                test = _read_all(pool, tree["test"][name], where, settings)
                yield ClassImages(name, train, test)
            else:
                yield hold_out(name, train, settings)


def _read_all(
    pool: ThreadPoolExecutor, entries: list[Entry], where: str, settings: DatasetSettings
) -> Images:
    """Decode files to uint8 (n, image_side, image_side, channels)."""
    side, channels = settings.image_side, settings.channels
    images = np.empty((len(entries), side, side, channels), np.uint8)

    def read(index: int) -> None:
        parts, file = entries[index]
        assert file is not None, parts
        images[index] = read_picture(file, "/".join((where, *parts)), side, channels)

    for _ in pool.map(read, range(len(entries))):
        pass  # raises the first error in the order of names
    return images
