"""Parquet files and folders of Hugging Face's datasets, made here by pyarrow alone."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from der.core.errors import UserError
from der.data.sources import ClassImages, hold_out
from der.data.sources.parquet import parquet
from der.data.sources.registry import Counts, download
from der.settings.sections import DatasetSettings
from tests.data.sources.image_trees import pixels_of, png, settings_for

NAMES = ["dog", "cat", "ant"]  # not in alphabetical order
LABELS = [0, 2, 1, 1, 0, 2, 2, 0, 1, 0]  # of rows, mixed
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def features(**labels: list[str]) -> dict[bytes, bytes]:
    """What datasets writes into a schema of a column image and columns of labels, with their names."""
    kinds = {name: {"names": names, "_type": "ClassLabel"} for name, names in labels.items()}
    info = {"features": {"image": {"_type": "Image"}, **kinds}}
    return {b"huggingface": json.dumps({"info": info}).encode()}


def table(split: str = "train", labels: Sequence[int] = LABELS) -> pa.Table:
    """Pictures of noise as datasets has them."""
    pictures = [{"bytes": png(f"{split}/{row}"), "path": f"{row}.png"} for row in range(len(labels))]
    columns = {"image": pa.array(pictures, PICTURE), "label": pa.array(labels, pa.int64())}
    return pa.table(columns).replace_schema_metadata(features(label=NAMES))


def expected(name: str, *splits: str) -> np.ndarray:
    rows = [row for row, label in enumerate(LABELS) if NAMES[label] == name]
    return np.stack([pixels_of(f"{split}/{row}") for split in splits for row in rows])


def write(file: Path, content: pa.Table, kind: str = "") -> Path:
    """A Parquet file in row groups of three, or an Arrow stream or file in such batches."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(content, file, row_group_size=3)
    else:
        new = pa.ipc.new_file if kind == "indexed" else pa.ipc.new_stream
        with pa.OSFile(str(file), "wb") as sink, new(sink, content.schema) as writer:
            writer.write_table(content, max_chunksize=3)
    return file


def settings_of(path: Path) -> DatasetSettings:
    return replace(settings_for(path), source="der.data.sources.parquet:parquet")


def read(path: Path) -> dict[str, ClassImages]:
    scratch = path.parent / "scratch"
    try:
        found = list(parquet(settings_of(path), scratch))
    finally:
        assert not scratch.exists()
    assert [one.name for one in found] == sorted(one.name for one in found)
    return {one.name: one for one in found}


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check(path: Path, train: Sequence[str] = ("train",), test: str | None = None) -> None:
    """All classes have the images of these splits; without ``test`` some are held out."""
    found = read(path)
    assert list(found) == sorted(NAMES)
    for name, one in found.items():
        wanted = hold_out(name, expected(name, *train), settings_of(path))
        if test is not None:
            wanted = ClassImages(name, expected(name, *train), expected(name, test))
        assert np.array_equal(one.train, wanted.train) and np.array_equal(one.test, wanted.test)
        assert isinstance(one.train, np.memmap) and isinstance(one.test, np.memmap)  # on disk


def as_bytes(content: pa.Table) -> pa.Table:
    pictures = [one["bytes"] for one in content["image"].to_pylist()]
    return content.set_column(0, "image", pa.array(pictures, pa.large_binary()))


def as_text(content: pa.Table) -> pa.Table:
    names = pa.array([NAMES[label] for label in content["label"].to_pylist()])
    return content.set_column(1, "label", names).replace_schema_metadata(None)


def as_dictionary(content: pa.Table) -> pa.Table:
    content = as_text(content)
    return content.set_column(1, "label", content["label"].combine_chunks().dictionary_encode())


def with_coarse_labels(content: pa.Table) -> pa.Table:
    coarse = pa.array([0] * len(content))
    content = content.rename_columns(["image", "fine"]).append_column("coarse", coarse)
    return content.replace_schema_metadata(features(coarse=["animal"], fine=NAMES))


FORMS = [lambda content: content, as_bytes, as_text, as_dictionary, with_coarse_labels]


@pytest.mark.parametrize("change", FORMS)
@pytest.mark.parametrize(("suffix", "kind"), [(".parquet", ""), (".arrow", ""), (".arrow", "indexed")])
def test_one_file(change: Callable[[pa.Table], pa.Table], suffix: str, kind: str, tmp_path: Path) -> None:
    check(write(tmp_path / f"mine{suffix}", change(table()), kind))


def test_whole_numbers_without_names_are_their_digits(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.parquet", table().replace_schema_metadata(None))
    assert list(read(file)) == ["0", "1", "2"]


LAYOUTS = {  # as the hub lays them out; the split that a file's images are of
    "shards": {"data/train-00000-of-00002.parquet": "a", "data/train-00001-of-00002.parquet": "b"}
    | {"data/test-00000-of-00001-00a1.parquet": "test"},
    "folders": {"train/0000.parquet": "a", "train/0001.parquet": "b", "testing/0000.parquet": "test"},
    "configuration": {"plain_text/train/0.parquet": "a", "plain_text/train/1.parquet": "b"}
    | {"plain_text/test/0.parquet": "test"},
    "names": {"my_train1.parquet": "a", "my_train2.parquet": "b", "evaluation.parquet": "test"},
    "validation": {"train.a.parquet": "a", "train.b.parquet": "b", "valid.parquet": "test"},
    "saved": {"train/data-00000-of-00002.arrow": "a", "train/data-00001-of-00002.arrow": "b"}
    | {"train/cache-0123456789abcdef.arrow": "cache", "test/data-00000-of-00001.arrow": "test"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits_by_names(layout: str, tmp_path: Path) -> None:
    for name, split in LAYOUTS[layout].items():
        write(tmp_path / "root" / name, table(split))
    (tmp_path / "root/README.md").write_text("A data set.")
    check(tmp_path / "root", ("a", "b"), "test")


def test_files_of_other_splits_are_passed_over_and_counted(tmp_path: Path) -> None:
    for name in ("train", "test", "validation", "extra"):
        write(tmp_path / f"root/data/{name}-00000-of-00001.parquet", table(name))
    assert [one.passed_over for one in read(tmp_path / "root").values()] == [2, 0, 0]


def test_as_a_source_named_like_a_user_s_own(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.parquet", table())
    assert download(settings_of(file), tmp_path / "raw") == Counts(classes=3, train=7, test=3)
    assert not (tmp_path / "raw/unpacked").exists()


def test_all_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    pictures = table()["image"].to_pylist()
    pictures[3] = {"bytes": b"no picture", "path": "some/where/x.png"}
    pictures[5] = {"bytes": None, "path": "y.png"}
    pictures[8] = {"bytes": pictures[8]["bytes"][:80], "path": None}
    file = write(tmp_path / "mine.parquet", table().set_column(0, "image", pa.array(pictures, PICTURE)))
    found = refusal(file)
    assert found.startswith("3 pictures cannot be read or are too large; ")
    assert found.endswith(f": {file} row 3 (x.png), {file} row 5 (y.png), {file} row 8")


def labelled(*labels: Any) -> pa.Table:
    return table(labels=[0] * len(labels)).set_column(1, "label", pa.array(labels))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (labelled(0, 3, 1), "label 3 of row 1 has no name; 3 are known, from 0"),
        (labelled(0, 1, -1), "label -1 of row 2 has no name; 3 are known, from 0"),
        (labelled(0, None, 1), "row 1 has no label; write one or leave the row out"),
        (labelled(0.5, 1.5), "labels are of type float; write whole numbers or text"),
        (labelled(True, False), "labels are of type bool; write whole numbers or text"),
        (labelled(0, 0, 0), "has 1 of the two classes that are needed; add images"),
        (labelled(0, 1)[:0], "has 0 of the two classes that are needed; add images"),
        (table().rename_columns(["a", "b"]), "the columns a, b are not one of pictures and one of labels;"),
        (table().drop_columns(["label"]), "the columns image are not one of pictures and one of labels;"),
        (table().set_column(0, "image", pa.array(LABELS)), "pictures are of type int; write the bytes of"),
    ],
)
def test_a_table_of_something_else(content: pa.Table, sentence: str, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.parquet", content)
    assert refusal(file).startswith(f"{file}: {sentence}")


def test_a_class_of_one_image_cannot_be_divided(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.parquet", labelled(0, 0, 1))
    assert refusal(file) == "'cat': 1 images cannot be divided into training and test; add more"


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_file_of_another_format(suffix: str, tmp_path: Path) -> None:
    file = write(tmp_path / f"mine{suffix}", table())
    for content in (b"", b"PAR1 and more", file.read_bytes()[: file.stat().st_size // 2]):
        file.write_bytes(content)
        assert refusal(file).startswith(f"{file}: cannot be read as Parquet or Arrow (")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert refusal(root) == f"{root}: there is no such file or directory; edit dataset.path"
    root.mkdir()
    assert refusal(root) == f"{root}: holds no .parquet or .arrow file; edit dataset.path"
    write(root / "test.parquet", table())
    assert refusal(root) == f"{root}: has no training images; name a folder or file of them train"
    write(root / "train.parquet", table(labels=[0, 0, 1]))
    assert refusal(root) == f"{root}: class 'ant' has no image in train; add some or leave it out"
    (root / "more").symlink_to(tmp_path, target_is_directory=True)
    assert refusal(root).startswith(f"{root}/more: a link to a directory, in which DVC notices no change")
