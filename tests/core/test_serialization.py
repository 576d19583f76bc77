"""JSON and .npy files: whole, named when damaged, never unpickled."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from der.core.errors import UserError
from der.core.files import read_array, read_json, write_array, write_json


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


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


@pytest.mark.parametrize(
    "content", [None, b"", b'{"a": 1', b"\xff\xfe", 200_000 * b"[", b"[NaN]", b"-Infinity"]
)
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


@pytest.mark.parametrize("read", [read_json, read_array])
def test_what_is_no_file_is_not_waited_for(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("pipe", "zeros"):
        with pytest.raises(UserError, match=rf"{name}: cannot be read as .+ \(no file\)$"):
            read(tmp_path / name)
