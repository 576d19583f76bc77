"""Anyone's images: train/<class>/*, and test/<class>/* if there is one, in a directory or an archive."""

import shutil
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from der.core.errors import UserError
from der.data.sources.archives import unpack
from der.data.sources.class_images import ClassImages, choose_tests
from der.data.sources.pictures import Fault, Job, Picture, decode, describe, make_images, map_images
from der.data.sources.tree import Entry, Splits, build_tree, check_archive, check_splits, scan, unwrap
from der.data.splits import SPLITS
from der.settings.sections import DatasetSettings


def folder(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """Yield the classes found under ``settings.path`` in alphabetical order, images in that of their names.

    Without a folder test, a fraction of every class is held out. Arrays lie in files of ``scratch``, into
    which an archive is unpacked, too; it is made for that and removed in the end. Files that are no pictures
    by their names are passed over; the first class has their number. Raises UserError that names the file or
    class for everything wrong with the tree, and in the end the pictures that cannot be read; after the first
    of those, no class is yielded.
    """
    path = Path(settings.path)
    if path.is_dir():
        yield from _classes(list(scan(path)), str(path), settings, scratch)
    elif not path.exists():
        raise UserError(f"{path}: there is no such directory or archive; put one there or edit dataset.path")
    else:
        check_archive(path)
        scratch.mkdir(parents=True)
        try:
            wrapper, entries = unwrap(unpack(path, scratch))
            yield from _classes(entries, "/".join((str(path), *wrapper)), settings, scratch / "pixels")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _classes(
    entries: list[Entry], where: str, settings: DatasetSettings, scratch: Path
) -> Generator[ClassImages, None, None]:
    splits, passed_over = build_tree(entries, where)
    check_splits(splits, where)
    faults: list[Fault] = []
    total = sum(len(found) for classes in splits.values() for found in classes.values())
    scratch.mkdir(parents=True)
    try:
        with closing(decode(settings, total, _jobs(splits, where, settings, scratch))) as decoded:
            for name, train, test in zip(sorted(splits["train"]), decoded, decoded, strict=True):
                found = train[1] + test[1]
                faults += found if "test" in splits else sorted(found)
                if not faults:  # else the other pictures are looked at, so that one message names all
                    yield ClassImages(name, map_images(train[0]), map_images(test[0]), passed_over)
                    passed_over = 0
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if faults:
        raise UserError(describe(faults))


def _jobs(splits: Splits, where: str, settings: DatasetSettings, scratch: Path) -> Iterator[Job]:
    """Each class's training images, then its test images."""
    for number, name in enumerate(sorted(splits["train"])):
        for split, part in zip(SPLITS, _divide(splits, name, settings), strict=True):
            file = scratch / f"{number} {split}.npy"
            make_images(file, len(part), settings)
            yield Job(file, range(len(part)), [_picture(one, where) for one in part])


def _divide(splits: Splits, name: str, settings: DatasetSettings) -> tuple[list[Entry], list[Entry]]:
    """The files of a class's training and test images."""
    train = splits["train"][name]
    if "test" in splits:
        return train, splits["test"][name]
    is_test = choose_tests(name, len(train), settings)
    kept = [entry for entry, held_out in zip(train, is_test, strict=True) if not held_out]
    return kept, [entry for entry, held_out in zip(train, is_test, strict=True) if held_out]


def _picture(entry: Entry, where: str) -> Picture:
    assert entry.file is not None, entry.parts
    return Picture("/".join((where, *entry.parts)), entry.file)
