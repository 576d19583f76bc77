"""Pictures and labels in Parquet files, or in a folder of Hugging Face's `datasets`, by pyarrow alone.

Named as a source of anyone's: dataset.source is der.data.sources.parquet:parquet.
"""

import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.data.sources.arrow_files import Columns, find_columns, list_files, read_rows
from der.data.sources.class_images import ClassImages, Images, choose_tests
from der.data.sources.pictures import Job, Picture, decode, describe, make_images, map_images
from der.settings.sections import DatasetSettings


class Split(NamedTuple):
    """The rows of one split, whose labels have been read."""

    files: list[tuple[Path, Columns]]
    classes: list[str]  # sorted
    labels: NDArray[np.int64]  # (N,) of every row, among ``classes``
    held_out: NDArray[np.bool_]  # (N,) the rows that are test images of a split without any

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,) By which rows are sorted: a class's training images, then those held out."""
        return 2 * self.labels + self.held_out

    def of_class(self, name: str, held_out: bool = False) -> slice:
        """Where the images of a class lie when all are sorted."""
        group = 2 * self.classes.index(name) + held_out
        ends = np.cumsum([0, *np.bincount(self.groups, minlength=2 * len(self.classes))])
        return slice(int(ends[group]), int(ends[group + 1]))

    def hold_out(self, settings: DatasetSettings) -> "Split":
        """The same rows, of each class of which some are test images."""
        held_out = np.zeros(len(self.labels), np.bool_)
        for label, name in enumerate(self.classes):
            rows = np.flatnonzero(self.labels == label)
            held_out[rows] = choose_tests(name, len(rows), settings)
        return self._replace(held_out=held_out)


def parquet(settings: DatasetSettings, scratch: Path) -> Iterator[ClassImages]:
    """Yield the classes in ``settings.path`` in alphabetical order, images in the order of files and rows.

    It is a Parquet file, a directory of them whose folders or files are named after splits, or what
    `save_to_disk` left. Pictures are bytes of picture files, alone or as {bytes, path}; labels are text, or
    whole numbers with the names that `datasets` keeps in the schema, or else their digits. Test images are
    those of split test, or of validation where there is no test; without either, a fraction of every class is
    held out. Files of other splits are passed over, and counted.

    Labels are read first; then pictures are decoded as they are streamed, some hundreds at a time, into
    ``scratch``, which takes as much room as the result and is removed in the end. Raises UserError that names
    the file for everything wrong with it, and in one message all pictures that cannot be read.
    """
    root = Path(settings.path)
    found = list_files(root)
    test = next((split for split in ("test", "validation") if split in found), None)
    chosen = {"train": found.get("train", found.get(None, []) if test is None else [])}
    chosen |= {} if test is None else {"test": found[test]}
    if not chosen["train"]:
        raise UserError(f"{root}: has no training images; name a folder or file of them train")
    splits = {name: _read_labels(files) for name, files in chosen.items()}
    classes = _check_classes(splits, root)
    passed_over = sum(map(len, found.values())) - sum(map(len, chosen.values()))
    tests, held_out = ("train", True) if test is None else ("test", False)
    if held_out:
        splits["train"] = splits["train"].hold_out(settings)
    scratch.mkdir(parents=True)
    try:
        images = _decode(splits, settings, scratch)
        for name in classes:
            train = images["train"][splits["train"].of_class(name)]
            yield ClassImages(name, train, images[tests][splits[tests].of_class(name, held_out)], passed_over)
            passed_over = 0
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _read_labels(files: list[Path]) -> Split:
    known: dict[str, int] = {}  # by name, in the order found
    labels: list[int] = []
    read = [(file, find_columns(file)) for file in files]
    for file, columns in read:
        row = 0
        for (values,) in read_rows(file, columns.label):
            for index, value in enumerate(values, start=row):
                labels.append(known.setdefault(_name(value, columns, file, index), len(known)))
            row += len(values)
    classes = sorted(known)
    places = {name: place for place, name in enumerate(classes)}
    renumbered = np.array([places[name] for name in known], np.int64)
    return Split(read, classes, renumbered[np.array(labels, np.int64)], np.zeros(len(labels), np.bool_))


def _name(label: Any, columns: Columns, file: Path, row: int) -> str:
    if isinstance(label, int) and columns.names is not None:
        if not 0 <= label < len(columns.names):
            raise UserError(
                f"{file}: label {label} of row {row} has no name; {len(columns.names)} are known, from 0"
            )
        label = columns.names[label]
    if label is None:
        raise UserError(f"{file}: row {row} has no label; write one or leave the row out")
    return unicodedata.normalize("NFC", str(label))


def _check_classes(splits: dict[str, Split], root: Path) -> list[str]:
    """The classes, sorted; raises UserError for one that is not in every split."""
    classes = sorted({name for one in splits.values() for name in one.classes})
    if len(classes) < 2:
        raise UserError(f"{root}: has {len(classes)} of the two classes that are needed; add images")
    for split, one in splits.items():
        if missing := sorted({*classes} - {*one.classes}):
            raise UserError(f"{root}: class {missing[0]!r} has no image in {split}; add some or leave it out")
    return classes


def _decode(splits: dict[str, Split], settings: DatasetSettings, scratch: Path) -> dict[str, Images]:
    """All images of each split, sorted by its groups, in files of ``scratch``."""
    total = sum(len(split.labels) for split in splits.values())
    files = {name: scratch / f"{name}.npy" for name in splits}
    jobs = (job for name, split in splits.items() for job in _jobs(split, files[name], settings))
    faults = [fault for _, found in decode(settings, total, jobs) for fault in found]
    if faults:
        raise UserError(describe(faults))
    return {name: map_images(file) for name, file in files.items()}


def _jobs(split: Split, file: Path, settings: DatasetSettings) -> Iterator[Job]:
    places = np.empty(len(split.labels), np.int64)
    places[np.argsort(split.groups, kind="stable")] = np.arange(len(places))
    make_images(file, len(places), settings)
    done = 0
    for pictures in _pictures(split):
        yield Job(file, places[done : done + len(pictures)].tolist(), pictures)
        done += len(pictures)


def _pictures(split: Split) -> Iterator[list[Picture]]:
    for file, columns in split.files:
        row = 0
        for (values,) in read_rows(file, columns.image):
            yield [_picture(value, file, row + index) for index, value in enumerate(values)]
            row += len(values)


def _picture(value: Any, file: Path, row: int) -> Picture:
    content, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    place = f"{file} row {row}" + (f" ({Path(name).name})" if name else "")
    return Picture(place, content or b"")
