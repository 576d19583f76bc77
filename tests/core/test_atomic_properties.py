"""Whatever is written, and wherever writing stops: an output is there whole or not at all."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, boolean_dtypes, floating_dtypes, integer_dtypes
from numpy.typing import NDArray

from der.core.files import atomic_directory, atomic_file, read_array, read_json, write_array, write_json

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
        for name, content in (("file", old), ("file.partial", left)):  # the second of a run that was killed
            if content is not None:
                path.with_name(name).write_bytes(content)
        expected = old
        try:
            with atomic_file(path) as partial:
                partial.write_bytes(b"")
                write_pieces([(partial, piece) for piece in pieces], stop)
            expected = b"".join(pieces)
        except Stopped:
            assert stop is not None
        assert tree_of(Path(directory)) == ({} if expected is None else {"file": expected})


@given(st.none() | TREES, st.none() | TREES, TREES, STOPS)
def test_a_directory_is_the_old_one_or_the_new_one(
    old: dict[str, bytes] | None, left: dict[str, bytes] | None, new: dict[str, bytes], stop: int | None
) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "folder")
        for name, tree in (("folder", old), ("folder.partial", left)):
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
        assert not path.with_name("folder.partial").exists()


@given(JSON)
def test_json_is_read_as_it_was_written(value: object) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "value.json")
        write_json(path, value)
        assert read_json(path) == value
        assert json.loads(path.read_bytes()) == value  # by another reader


@given(
    arrays(
        boolean_dtypes() | integer_dtypes() | floating_dtypes(),
        array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_an_array_is_read_as_it_was_written(array: NDArray[np.generic]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "array.npy")
        write_array(path, array)
        read = read_array(path)
        assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())
