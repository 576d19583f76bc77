"""Files and directories that are whole or absent."""

import errno
import json
import os
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from der.common.atomic import PARTIAL, atomic_directory, atomic_file
from der.common.errors import UserError
from der.common.filesystem import link_or_copy
from der.common.serialization import read_array, read_json, write_array, write_json


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_appears_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with atomic_file(path) as partial:
        partial.write_text("text")
        assert not path.exists()
        assert partial.name.endswith(PARTIAL)
        assert partial.parent == path.parent  # the same file system, so that renaming is atomic
    assert path.read_text() == "text"
    assert names(path.parent) == ["file.txt"]


def test_a_file_is_replaced_not_written_over(tmp_path: Path) -> None:
    # Checkpoints share files by hard links, so writing in place would change another one.
    (tmp_path / "file.json").write_text("old")
    link_or_copy(tmp_path / "file.json", tmp_path / "linked.json")
    write_json(tmp_path / "file.json", "new")
    assert (tmp_path / "linked.json").read_text() == "old"
    assert read_json(tmp_path / "file.json") == "new"


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with suppress(KeyError), atomic_file(path) as partial:
        partial.write_text("half of the n")
        raise KeyError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_failure_leaves_no_new_file(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), atomic_file(tmp_path / "file.txt") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_the_partial_file_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / f"value.json{PARTIAL}").write_text("much longer than what will be written" * 9)
    write_json(tmp_path / "value.json", 1)
    assert (tmp_path / "value.json").read_text() == "1\n"
    assert names(tmp_path) == ["value.json"]


def test_a_directory_appears_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    with atomic_directory(path) as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "a").write_text("a")
        assert not path.exists()
    assert (path / "inner" / "a").read_text() == "a"
    assert names(path.parent) == ["folder"]


def test_a_directory_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for name in ("old", "new"):
        with atomic_directory(path) as partial:
            assert names(partial) == []
            (partial / name).write_text(name)
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_a_failure_leaves_the_old_directory(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with atomic_directory(path) as partial:
        (partial / "old").write_text("old")
    with suppress(KeyboardInterrupt), atomic_directory(path) as partial:
        (partial / "new").write_text("new")
        raise KeyboardInterrupt
    assert names(path) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_the_partial_directory_of_a_killed_run_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / f"folder{PARTIAL}" / "deep"
    left.mkdir(parents=True)
    (left / "left").write_text("left")
    with atomic_directory(tmp_path / "folder") as partial:
        (partial / "new").write_text("new")
    assert names(tmp_path / "folder") == ["new"]
    assert names(tmp_path) == ["folder"]


def test_a_link_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"bytes")
    link_or_copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").samefile(tmp_path / "source")


def test_a_copy_where_links_are_impossible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "no link between file systems")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "source").write_bytes(b"bytes")
    link_or_copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"bytes"
    assert not (tmp_path / "target").samefile(tmp_path / "source")


def test_json_round_trip_and_form(tmp_path: Path) -> None:
    value = {"grün": [1, 0.1, None, True], "a": {"b": 1e-300}}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value
    text = (tmp_path / "v.json").read_bytes()
    assert "grün".encode() in text
    assert text.endswith(b"}\n")
    assert b"\r" not in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_without_nan(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "v.json", {"a": value})
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [None, b"", b'{"a": 1', b"\xff\xfe", 200_000 * b"["])
def test_damaged_json_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(UserError, match=r"v\.json: cannot be read as JSON \("):
        read_json(tmp_path / "v.json")


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("array", [np.arange(6, dtype=np.uint8).reshape(2, 3), np.zeros((0, 4), np.float32)])
def test_array_round_trip(array: np.ndarray, mapped: bool, tmp_path: Path) -> None:
    mapped = mapped and array.size > 0  # nothing cannot be mapped
    write_array(tmp_path / "a.npy", array)
    read = read_array(tmp_path / "a.npy", mapped=mapped)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert isinstance(read, np.memmap) == mapped
    assert read.flags.writeable != mapped


def test_no_array_of_objects_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_array(tmp_path / "a.npy", np.array([{}]))
    assert names(tmp_path) == []


class Trap:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "objects", "pickle", "text"])
def test_a_damaged_array_is_named_and_never_unpickled(kind: str, mapped: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    if kind == "objects":
        np.save(path, np.array([Trap()]), allow_pickle=True)
    elif kind != "missing":
        write_array(path, np.arange(100))
        whole = path.read_bytes()
        contents = {
            "empty": b"",
            "truncated": whole[:-8],
            "pickle": pickle.dumps(Trap()),
            "text": json.dumps([1]).encode(),
        }
        path.write_bytes(contents[kind])
    with pytest.raises(UserError, match=r"a\.npy: cannot be read as a \.npy array \("):
        read_array(path, mapped=mapped)
