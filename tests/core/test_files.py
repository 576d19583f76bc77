"""Files and directories are whole or absent, wherever writing stops; damage is named."""

import json
import os
import pickle
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, boolean_dtypes, floating_dtypes, integer_dtypes
from numpy.typing import NDArray

from der.core.errors import DamageError, UserError
from der.core.files import (
    ASIDE,
    MANIFEST,
    PARTIAL,
    SealedDirectory,
    atomic_directory,
    atomic_file,
    find_damage,
    prefetch,
    read_array,
    read_json,
    release,
    sealed_directory,
    write_array,
    write_json,
)

CONTENTS = st.binary(max_size=40)
NAMES = st.sampled_from(["a", "b", "sub/a", "sub/deep/b"])
TREES = st.dictionaries(NAMES, CONTENTS, max_size=4)
STOPS = st.none() | st.integers(0, 4)  # writes after which the writing fails; None: it does not
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


class Stopped(Exception):
    """In place of a full disk or a signal."""


def write_pieces(pieces: list[tuple[Path, bytes]], stop: int | None) -> None:
    """Append each piece to its file; stops before the piece of index ``stop``."""
    for index, (path, content) in enumerate(pieces):
        if index == stop:
            raise Stopped
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            stream.write(content)
    if stop is not None and stop >= len(pieces):
        raise Stopped


def tree_of(directory: Path) -> dict[str, bytes]:
    """All files below, by their paths."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


@given(st.none() | CONTENTS, st.none() | CONTENTS, st.lists(CONTENTS, max_size=4), STOPS)
def test_a_file_is_the_old_one_or_the_new_one(
    old: bytes | None, left: bytes | None, pieces: list[bytes], stop: int | None
) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "file")
        for name, content in (("file", old), (f"file{PARTIAL}", left)):  # the second of a run that was killed
            if content is not None:
                path.with_name(name).write_bytes(content)
        expected = old
        try:
            with atomic_file(path) as partial:
                partial.write_bytes(b"")
                write_pieces([(partial, piece) for piece in pieces], stop)
                assert path.exists() == (old is not None) and partial.parent == path.parent
            expected = b"".join(pieces)
        except Stopped:
            assert stop is not None
        assert tree_of(Path(directory)) == ({} if expected is None else {"file": expected})


@pytest.mark.slow
@given(st.none() | TREES, st.none() | TREES, TREES, STOPS)
def test_a_directory_is_the_old_one_or_the_new_one(
    old: dict[str, bytes] | None, left: dict[str, bytes] | None, new: dict[str, bytes], stop: int | None
) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "folder")
        for name, tree in (("folder", old), (f"folder{PARTIAL}", left)):
            if tree is not None:
                path.with_name(name).mkdir()
                write_pieces([(path.with_name(name) / file, content) for file, content in tree.items()], None)
        expected = old
        try:
            with atomic_directory(path) as partial:
                write_pieces([(partial / file, content) for file, content in new.items()], stop)
            expected = new
        except Stopped:
            assert stop is not None
        assert path.exists() == (expected is not None)
        assert tree_of(path) == (expected or {})
        assert set(os.listdir(directory)) <= {"folder"}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def put(path: Path, name: str) -> None:
    with atomic_directory(path) as partial:
        (partial / name).touch()


def test_the_old_directory_stays_till_the_new_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, replace = tmp_path / "folder", Path.replace
    put(path, "old")

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == f"folder{PARTIAL}":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(path, "new")
    assert names(path) == ["old"] and names(tmp_path) == ["folder"]


def test_what_a_kill_left_aside_comes_back(tmp_path: Path) -> None:
    path, aside = tmp_path / "folder", tmp_path / f"folder{ASIDE}"
    assert aside.suffix == PARTIAL  # ignored by git and DVC
    put(path, "old")
    path.replace(aside)  # killed between the two renamings
    with suppress(KeyError), atomic_directory(path):
        raise KeyError
    assert names(path) == ["old"] and names(tmp_path) == ["folder"]
    put(aside, "older")  # killed before it was removed
    put(path, "new")
    assert names(path) == ["new"] and names(tmp_path) == ["folder"]


@given(JSON)
def test_json_is_read_as_it_was_written(value: object) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "value.json")
        write_json(path, value)
        assert read_json(path) == value
        assert json.loads(path.read_bytes()) == value  # by another reader


@pytest.mark.parametrize(
    "content", [None, b"", b'{"a": 1', b"\xff\xfe", 200_000 * b"[", b"[NaN]", b"-Infinity"]
)
def test_damaged_json_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(UserError, match=r"v\.json: cannot be read as JSON \("):
        read_json(tmp_path / "v.json")


@given(
    arrays(
        boolean_dtypes() | integer_dtypes() | floating_dtypes(),
        array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.booleans(),
)
def test_an_array_is_read_as_it_was_written(array: NDArray[np.generic], mapped: bool) -> None:
    mapped = mapped and array.size > 0 and array.ndim > 0  # nothing cannot be mapped
    with TemporaryDirectory() as directory:
        path = Path(directory, "array.npy")
        write_array(path, array)
        read = read_array(path, mapped=mapped)
        assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert isinstance(read, np.memmap) == mapped and read.flags.writeable != mapped


def test_a_map_that_was_written_to_keeps_what_was_written(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.zeros((6, 4096), np.uint8))
    own: np.memmap = np.load(tmp_path / "a.npy", mmap_mode="c")
    own[:] = 7
    prefetch(own, np.array([0, 5]))
    release(own)
    assert (own == 7).all() and not read_array(tmp_path / "a.npy").any()


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
        contents = {"empty": b"", "truncated": whole[:-8], "pickle": pickle.dumps(Trap()), "text": b"[1]"}
        path.write_bytes(contents[kind])
    with pytest.raises(UserError, match=r"a\.npy: cannot be read as a \.npy array \("):
        read_array(path, mapped=mapped)


ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A sealed directory with files of each kind."""
    path = tmp_path / "sealed"
    with sealed_directory(path) as partial:
        write_array(partial / "array.npy", ARRAY)
        write_json(partial / "inner/value.json", {"a": [1, 2]})
    return path


@pytest.mark.parametrize("name", ["array.npy", "inner/value.json", MANIFEST])
def test_a_bit_flipped_anywhere_is_named(directory: Path, name: str) -> None:
    content = (directory / name).read_bytes()
    for place in range(0, len(content), 7):
        for bit in (0, 6):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            (directory / name).write_bytes(flipped)
            with pytest.raises(DamageError, match=name):
                SealedDirectory(directory).file(name)
            assert [name in str(error) for error in find_damage(directory)] == [True]


def test_a_file_that_is_missing_or_was_added_is_named(directory: Path) -> None:
    (directory / "array.npy").unlink()
    (directory / "new.npy").write_bytes(b"")
    opened = SealedDirectory(directory)
    with pytest.raises(DamageError, match=r"array\.npy: cannot be read \(No such file"):
        opened.read_array("array.npy")
    with pytest.raises(DamageError, match=r"new\.npy: damaged"):
        opened.file("new.npy")
    (error,) = find_damage(directory)
    assert str(error).startswith(f"{directory / 'array.npy'}: cannot be read")
