"""The memory's files: what is written is read, and damage is named."""

import re
from pathlib import Path

import numpy as np
import pytest

from der.core.errors import DamageError, UserError
from der.core.sealed import seal
from der.core.serialization import write_array
from der.data.arrays import Memory, empty_memory, load_memory, save_memory
from der.data.arrays import every_row
from tests.builders import random_images

MEMORY = Memory(  # three exemplars of each of four classes
    every_row([random_images(0, 12)]),
    np.repeat(np.arange(4), 3),
    np.random.RandomState(0).rand(4, 32).astype(np.float32),
)


@pytest.mark.parametrize("memory", [empty_memory(), MEMORY], ids=["empty", "of four classes"])
def test_round_trip(memory: Memory, tmp_path: Path) -> None:
    save_memory(tmp_path / "memory", memory)
    read = load_memory(tmp_path / "memory")
    assert read.images.shape == memory.images.shape
    np.testing.assert_array_equal(read.images.copy(), memory.images.copy())
    for name in ("labels", "class_means"):
        np.testing.assert_array_equal(getattr(read, name), getattr(memory, name))
        assert getattr(read, name).dtype == getattr(memory, name).dtype


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_memory(tmp_path / "memory", MEMORY)
    return tmp_path / "memory"


def change(path: Path, array: np.ndarray) -> None:
    """Another array, with a manifest that says so."""
    write_array(path, array)
    seal(path.parent, {})


@pytest.mark.parametrize("name", ["images", "labels", "class_means"])
@pytest.mark.parametrize("fault", ["missing", "truncated"])
def test_a_damaged_file_is_named(name: str, fault: str, saved: Path) -> None:
    path = saved / f"{name}.npy"
    whole = path.read_bytes()
    path.unlink()
    if fault == "truncated":
        path.write_bytes(whole[:-1])
    fault = r"cannot be read \(" if fault == "missing" else "damaged, its bytes"
    with pytest.raises(DamageError, match=rf"{name}\.npy: {fault}"):
        load_memory(saved)


def test_images_without_labels_are_named(saved: Path) -> None:
    change(saved / "labels.npy", np.zeros(11, np.int64))
    with pytest.raises(UserError, match=r"memory: 12 images but 11 labels; build it again$"):
        load_memory(saved)


def test_means_of_another_memory_are_named(saved: Path) -> None:
    change(saved / "class_means.npy", np.zeros((3, 32), np.float32))
    message = r"memory: labels of 4 classes do not fit 3 class means; build it again$"
    with pytest.raises(UserError, match=message):
        load_memory(saved)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mean_that_is_not_finite_is_named(value: float, saved: Path) -> None:
    means = MEMORY.class_means.copy()
    means[-1, -1] = value
    change(saved / "class_means.npy", means)
    with pytest.raises(UserError, match=r"class_means\.npy: not all means are finite; build it again$"):
        load_memory(saved)


def test_labels_that_are_not_counted_from_0_are_named(saved: Path) -> None:
    change(saved / "labels.npy", load_memory(saved).labels + 1)
    with pytest.raises(
        UserError, match=r"memory: labels of 4 classes do not fit 4 class means; build it again$"
    ):
        load_memory(saved)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("labels", np.zeros(12)),
        ("labels", np.int64(3)),
        ("labels", np.zeros((12, 1), np.int64)),
        ("images", np.zeros((12, 8, 8), np.uint8)),
        ("images", np.zeros((12, 8, 8, 3), np.float32)),
        ("class_means", np.zeros(4, np.float32)),
        ("class_means", np.zeros((4, 32))),
    ],
)
def test_an_array_of_another_kind_is_named(name: str, array: np.ndarray, saved: Path) -> None:
    change(saved / f"{name}.npy", array)
    message = f"{name}.npy: {array.dtype} of shape {array.shape} does not belong there; build it again"
    with pytest.raises(UserError, match=f"{re.escape(message)}$"):
        load_memory(saved)
