"""Parquet and Arrow files with a column of pictures and one of labels, as Hugging Face's `datasets` has them.

Facts of `datasets` here, from its 4.x code: words for splits and what may stand around them (data_files.py),
what save_to_disk writes (arrow_dataset.py), features in a schema's metadata (arrow_writer.py).
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from der.core.errors import UserError
from der.data.sources.tree import check_own, is_ignored

SUFFIXES = (".parquet", ".arrow")
WORDS = {
    "train": "train|training",
    "test": "test|testing|eval|evaluation",
    "validation": "validation|valid|dev|val",
}
AROUND = "-._ 0-9"  # the characters that a word for a split ends at
ROWS = 128  # read at once
SAVED = "state.json"  # beside the files of a saved data set, which it lists
IMAGE, LABEL = ("image", "img"), ("label",)  # names of columns, where no metadata tells


class Columns(NamedTuple):
    """The two columns that are read."""

    image: str
    label: str
    names: list[str] | None  # of labels that are whole numbers; None: the number itself, or the label is text


def list_files(root: Path) -> dict[str | None, list[Path]]:
    """The files of each split, in the order of their paths; those that name none under None.

    ``root`` is a file, or a directory whose splits are told by names of folders, or else of files. Raises
    UserError if it is neither, holds no such file, or a link to a folder.
    """
    if root.is_file():
        return {None: [root]}
    if not root.is_dir():
        raise UserError(f"{root}: there is no such file or directory; edit dataset.path")
    found: dict[str | None, list[Path]] = {}
    for file in sorted(_walk(root)):
        found.setdefault(_split_of(file.relative_to(root)), []).append(file)
    if not found:
        raise UserError(f"{root}: holds no {' or '.join(SUFFIXES)} file; edit dataset.path")
    return found


def _walk(root: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not is_ignored(name)]
        for name in folders:
            check_own(Path(place, name))
        if SAVED in names:
            yield from _saved(Path(place))
        else:
            yield from (
                Path(place, name) for name in names if name.endswith(SUFFIXES) and not is_ignored(name)
            )


def _saved(directory: Path) -> Iterator[Path]:
    """The files of a saved data set, beside which caches of its use may lie."""
    try:
        listed = json.loads((directory / SAVED).read_text(encoding="utf-8"))["_data_files"]
        files = [directory / Path(one["filename"]).name for one in listed]
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{directory / SAVED}: lists no files ({error}); save the data set again") from None
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: missing; save the data set again")
    yield from files


def _split_of(path: Path) -> str | None:
    for part in (*reversed(path.parts[:-1]), path.stem):
        for split, words in WORDS.items():
            if re.search(rf"(?:^|[{AROUND}])(?:{words})(?:$|[{AROUND}])", part):
                return split
    return None


def find_columns(file: Path) -> Columns:
    """The columns of a file's pictures and labels; raises UserError if they cannot be told."""
    with opening(file) as (schema, _):
        features = _features(schema)
        images = [name for name, one in features.items() if one.get("_type") == "Image"]
        images = images or [name for name in IMAGE if name in schema.names]
        labels = {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
        label = _choose_label(labels) or next((name for name in LABEL if name in schema.names), None)
        if len(images) != 1 or label is None:
            raise UserError(
                f"{file}: the columns {', '.join(schema.names)} are not one of pictures and one of labels; "
                f"name them {IMAGE[0]} and {LABEL[0]}"
            )
        _check_types(file, schema.field(images[0]).type, schema.field(label).type)
    return Columns(images[0], label, labels.get(label))


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What `datasets` says of the columns in a schema's metadata; nothing if another program wrote it."""
    try:
        said = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (ValueError, LookupError, TypeError):
        return {}
    kinds = said.items() if isinstance(said, dict) else ()
    return {name: one for name, one in kinds if isinstance(one, dict) and name in schema.names}


def _choose_label(labels: dict[str, list[str]]) -> str | None:
    """The column `label`; of others the one with most classes, as CIFAR-100's fine_label."""
    if not labels or LABEL[0] in labels:
        return LABEL[0] if labels else None
    return max(labels, key=lambda name: len(labels[name]))


def _check_types(file: Path, image: Any, label: Any) -> None:
    types = pa.types
    if types.is_struct(image):
        image = next((field.type for field in image if field.name == "bytes"), image)
    if not any(test(image) for test in (types.is_binary, types.is_large_binary, types.is_binary_view)):
        raise UserError(
            f"{file}: pictures are {image}; write their files' bytes, as binary or {{bytes, path}}"
        )
    label = label.value_type if types.is_dictionary(label) else label
    tests = (types.is_integer, types.is_string, types.is_large_string, types.is_string_view)
    if not any(test(label) for test in tests):
        raise UserError(f"{file}: labels are {label}; write whole numbers or text")


def read_rows(file: Path, *columns: str) -> Iterator[list[list[Any]]]:
    """Yield the values of ``columns``, some rows at a time."""
    with opening(file) as (_, batches):
        for batch in batches([*columns]):
            for start in range(0, batch.num_rows, ROWS):
                part = batch.slice(start, ROWS)
                yield [part.column(name).to_pylist() for name in columns]


@contextmanager
def opening(file: Path) -> Iterator[tuple[Any, Any]]:
    """A file's schema, and a function that yields batches of the columns named, as they are streamed.

    Raises UserError naming the file for all that is wrong with its format.
    """
    try:
        if file.suffix == ".arrow":
            with pa.memory_map(str(file)) as source, _open_arrow(source) as reader:
                yield reader.schema, lambda columns: (batch.select(columns) for batch in _batches(reader))
        else:
            with pq.ParquetFile(file) as parquet:
                yield (
                    parquet.schema_arrow,
                    lambda columns: parquet.iter_batches(ROWS, columns=columns, use_threads=False),
                )
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as Parquet or Arrow ({reason}); get it again") from None


def _open_arrow(source: Any) -> Any:
    """A stream, as `datasets` saves it, or a file with an index, as other programs do."""
    if source.read(6) == b"ARROW1":
        return pa.ipc.open_file(source)
    source.seek(0)
    return pa.ipc.open_stream(source)


def _batches(reader: Any) -> Iterator[Any]:
    count = getattr(reader, "num_record_batches", None)
    return iter(reader) if count is None else map(reader.get_batch, range(count))
