"""Anyone's images: train/<class>/*, and test/<class>/* if there is one, in a directory or an archive."""

import shutil
from collections.abc import Generator
from pathlib import Path

from der.common.errors import UserError
from der.data.sources.archives import unpack
from der.data.sources.class_images import ClassImages, Images, hold_out
from der.data.sources.pictures import Fault, Picture, decoder, describe
from der.data.sources.tree import Entry, build_tree, check_archive, check_splits, scan, unwrap
from der.settings.dataset import DatasetSettings


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
    else:
        check_archive(path)
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
    with decoder(settings) as decode:

        def read_all(found: list[Entry]) -> Images:
            images, some = decode([_picture(entry, where) for entry in found])
            faults.extend(some)
            return images

        for name in sorted(splits["train"]):
            train = read_all(splits["train"][name])
            if "test" in splits:
                one = ClassImages(name, train, read_all(splits["test"][name]))
            else:
                one = hold_out(name, train, settings)
            if not faults:  # else the other pictures are looked at, so that one message names all
                yield one._replace(passed_over=passed_over)
                passed_over = 0
    if faults:
        raise UserError(describe(faults))


def _picture(entry: Entry, where: str) -> Picture:
    assert entry.file is not None, entry.parts
    return Picture("/".join((where, *entry.parts)), entry.file)
