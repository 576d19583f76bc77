"""Reads pictures and labels from Parquet or Arrow files, or from a folder of Hugging Face's `datasets`.

Use it like a user-defined source: dataset.source is der.data.sources.parquet:parquet. Names of splits, files
of save_to_disk and a schema's metadata are as in the code of `datasets` 4.x.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from der.core.errors import UserError, composed
from der.core.files import read_array
from der.data.sources import LATER, ClassImages, choose_tests, folder, pictures
from der.settings.sections import DatasetSettings

SUFFIXES = (".parquet", ".arrow")
CACHE = "cache-"  # prefixes of the files that `datasets` writes beside a saved data set
WORDS = {
    "train": "train|training",
    "test": "test|testing|eval|evaluation",
    "validation": "validation|valid|dev|val",
}
AROUND = "-._ 0-9"  # the characters that a word for a split ends at
ROWS = 128  # read at once
IMAGE, LABEL = ("image", "img"), "label"  # names of columns, where no metadata tells


class Columns(NamedTuple):
    image: str
    label: str
    names: list[str] | None  # of labels that are whole numbers; None: the number itself, or the label is text


def parquet(settings: DatasetSettings, scratch: Path) -> Iterator[ClassImages]:
    """Yield the classes in ``settings.path`` in alphabetical order, images in the order of files and rows.

    The path is a Parquet or Arrow file, a directory of them with folders or files named after splits, or the
    output of `save_to_disk`. Pictures are bytes of picture files, alone or as {bytes, path}. Labels are text,
    or integers with the names in the schema of `datasets`, or else their digits. Test images come from split
    test, or from validation if there is no test; without both, a fraction of every class is held out. Files
    of other splits are skipped and counted.

    Pictures are read into ``scratch``, which takes as much room as the result. Raises UserError naming the
    file for every mistake in it, and one message for all pictures that cannot be read.
    """
    root = Path(settings.path)
    found = _list_files(root)
    test = next((split for split in ("test", "validation") if split in found), None)
    train = found.get("train", found.get(None, []) if test is None else [])
    if not train:
        raise UserError(f"{root}: has no training images; name a folder or file of them train")
    files = [(file, _find_columns(file)) for file in (*train, *(found[test] if test else []))]
    parts = [list(_read_labels(*one)) for one in files]
    names = [name for part in parts for name in part]
    classes = sorted({*names})
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[name] for name in names], np.int64)
    is_test = np.arange(len(names)) >= sum(map(len, parts[: len(train)]))
    if len(classes) < 2:
        raise UserError(f"{root}: has {len(classes)} of the two classes that are needed; add images")
    for label, name in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        if test is None:
            is_test[rows] = choose_tests(name, len(rows), settings)
        for split, count in (("train", (~is_test[rows]).sum()), (test, is_test[rows].sum())):
            if not count and not (split != "train" and LATER.fullmatch(name)):
                raise UserError(f"{root}: class {name!r} has no image in {split}; add some or leave it out")
    # Sorted by these, a class's training images come first, then its test images.
    groups = 2 * labels + is_test
    places = np.empty(len(names), np.int64)
    places[np.argsort(groups, kind="stable")] = np.arange(len(names))
    starts = np.cumsum([0, *np.bincount(groups, minlength=2 * len(classes))]).tolist()
    passed_over = sum(map(len, found.values())) - len(files)
    scratch.mkdir(parents=True)
    try:
        listed = _pictures(files)
        with closing(pictures.decode(listed, settings.side, settings.channels, len(names))) as decoded:
            faults = pictures.write_decoded(scratch / "images.npy", places.tolist(), decoded, settings)
        if faults:
            raise UserError(pictures.describe(faults))
        images = read_array(scratch / "images.npy", mapped=True)
        for label, name in enumerate(classes):
            start, middle, end = starts[2 * label : 2 * label + 3]
            yield ClassImages(name, images[start:middle], images[middle:end], passed_over)
            passed_over = 0
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _list_files(root: Path) -> dict[str | None, list[Path]]:
    """List the files of each split in the order of their paths; None has the files that name no split."""
    if root.is_file():
        return {None: [root]}
    if not root.is_dir():
        raise UserError(f"{root}: there is no such file or directory; edit dataset.path")
    found: dict[str | None, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if any(map(pictures.is_ignored, inside.parts)):
            continue
        if path.is_dir():
            folder.check_no_link(path)
        elif path.suffix in SUFFIXES and not path.name.startswith(CACHE):
            found.setdefault(_split_of(inside), []).append(path)
    if not found:
        raise UserError(f"{root}: holds no {' or '.join(SUFFIXES)} file; edit dataset.path")
    return found


def _split_of(path: Path) -> str | None:
    for part in (*reversed(path.parts[:-1]), path.stem):
        for split, words in WORDS.items():
            if re.search(rf"(?:^|[{AROUND}])(?:{words})(?:$|[{AROUND}])", part):
                return split
    return None


def _find_columns(file: Path) -> Columns:
    """Find the columns of a file's pictures and labels; raises UserError if that is not possible."""
    with _opening(file) as (schema, _):
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))  # what `datasets` says of them
        every = said.get("info", {}).get("features", {}).items()
        features = {name: one for name, one in every if isinstance(one, dict) and name in schema.names}
        images = [name for name, one in features.items() if one.get("_type") == "Image"]
        images = images or [name for name in IMAGE if name in schema.names]
        labels = {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
        # Of several columns, take the one with the most classes, such as CIFAR-100's fine_label.
        label = max(labels, key=lambda name: len(labels[name]), default=LABEL)
        label = LABEL if LABEL in labels else label
        if len(images) != 1 or label not in schema.names:
            fault = f"{file}: the columns {', '.join(schema.names)} are not one of pictures and one of labels"
            raise UserError(f"{fault}; name them {IMAGE[0]} and {LABEL}")
    return Columns(images[0], label, labels.get(label))


def _read_labels(file: Path, columns: Columns) -> Iterator[str]:
    for row, label in enumerate(_read_column(file, columns.label)):
        if label is None:
            raise UserError(f"{file}: row {row} has no label; write one or leave the row out")
        if isinstance(label, bool) or not isinstance(label, int | str):
            raise UserError(f"{file}: labels are of type {type(label).__name__}; write whole numbers or text")
        if isinstance(label, int) and columns.names is not None:
            if not 0 <= label < len(columns.names):
                known = f"{len(columns.names)} are known, from 0"
                raise UserError(f"{file}: label {label} of row {row} has no name; {known}")
            label = columns.names[label]
        yield composed(str(label))


def _pictures(files: list[tuple[Path, Columns]]) -> Iterator[pictures.Picture]:
    for file, columns in files:
        for row, value in enumerate(_read_column(file, columns.image)):
            picture = value if isinstance(value, dict) else {"bytes": value}
            content, name = picture.get("bytes"), picture.get("path")
            if not isinstance(content, bytes | None):
                kind = type(content).__name__
                raise UserError(f"{file}: pictures are of type {kind}; write the bytes of their files")
            place = f"{file} row {row}" + (f" ({Path(name).name})" if name else "")
            yield pictures.Picture(place, content or b"")


def _read_column(file: Path, column: str) -> Iterator[Any]:
    """Yield the values of a column, with only some rows in memory at a time."""
    with _opening(file) as (_, batches):
        for batch in batches(column):
            yield from batch.column(0).to_pylist()


@contextmanager
def _opening(file: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file; return its schema, and a function that yields batches of a column."""
    try:
        if file.suffix == ".arrow":
            with pa.memory_map(str(file)) as source:
                is_indexed = source.read(6) == b"ARROW1"  # as other programs write; `datasets` saves streams
                source.seek(0)
                table = (pa.ipc.open_file if is_indexed else pa.ipc.open_stream)(source).read_all()
                yield table.schema, lambda column: table.select([column]).to_batches(ROWS)
        else:
            with pq.ParquetFile(file) as found:
                read = found.iter_batches
                yield found.schema_arrow, lambda column: read(ROWS, columns=[column], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as Parquet or Arrow ({reason}); get it again") from None
