"""A sealed directory gives what was written, or an error that names the file."""

from pathlib import Path

import numpy as np
import pytest

from der.core import files
from der.core.errors import DamageError
from der.core.files import (
    MANIFEST,
    SealedDirectory,
    find_damage,
    link_or_copy,
    sealed_directory,
    write_array,
    write_json,
)

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A sealed directory with files of each kind."""
    path = tmp_path / "sealed"
    with sealed_directory(path) as partial:
        write_array(partial / "array.npy", ARRAY)
        write_json(partial / "inner/value.json", {"a": [1, 2]})
    return path


def test_what_was_written_is_read(directory: Path) -> None:
    opened = SealedDirectory(directory)
    assert np.array_equal(opened.read_array("array.npy"), ARRAY)
    assert np.array_equal(opened.read_array("array.npy", mapped=True), ARRAY)
    assert opened.read_json("inner/value.json") == {"a": [1, 2]}
    assert find_damage(directory) == []


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


def test_known_digests_are_kept(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = SealedDirectory(directory).digests
    monkeypatch.setattr(files, "digest_file", lambda path: pytest.fail(f"{path} was hashed"))
    with sealed_directory(tmp_path / "copy", known) as partial:
        link_or_copy(directory / "array.npy", partial / "array.npy")
    monkeypatch.undo()
    assert np.array_equal(SealedDirectory(tmp_path / "copy").read_array("array.npy"), ARRAY)
    assert SealedDirectory(tmp_path / "copy").digests == {"array.npy": known["array.npy"]}
