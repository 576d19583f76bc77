"""Images as arrays: picked, streamed, in files of one class each, and as the memory."""

import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from der.core import files
from der.core.errors import DamageError, UserError
from der.core.files import seal, write_array, write_json
from der.data import arrays as module
from der.data.arrays import (
    ImageRows,
    Memory,
    class_file,
    empty_memory,
    every_row,
    join,
    list_classes,
    load_memory,
    read_classes,
    save_memory,
    write_images,
)
from tests.builders import random_images
from tests.resident_memory import resident

SIZE = 8 * 8 * 3  # bytes of an image


def draw_arrays(counts: list[int]) -> list[NDArray[np.uint8]]:
    return [random_images(seed, count) for seed, count in enumerate(counts)]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_picks_of_picks_are_rows_of_all(counts: list[int], data: st.DataObject) -> None:
    arrays = draw_arrays(counts)
    whole, images = np.concatenate(arrays), every_row(arrays)
    for _ in range(2):
        indices = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1)), np.int64)
        whole, images = whole[indices], images.pick(indices)
        assert len(images) == len(whole) and images.shape == (8, 8, 3)
        np.testing.assert_array_equal(images.copy(), whole)
        asked = [np.array([len(whole) - 1, 0]), np.array([0])]
        for found, expected in zip(images.stream(asked), (whole[[-1, 0]], whole[:1]), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("empty", [np.empty((0, 0, 0, 0), np.uint8), random_images(0, 3)[:0]])
def test_those_without_images_count_for_nothing(empty: NDArray[np.uint8]) -> None:
    images = every_row([random_images(1, 3)])
    for several in ([every_row([empty]), images], [images, every_row([empty])]):
        assert join(several).shape == (8, 8, 3)
        np.testing.assert_array_equal(join(several).copy(), images.copy())
    assert len(join([every_row([empty])])) == 0
    assert [*every_row([empty]).chunks()] == []


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell what is resident")
def test_of_large_files_nothing_stays_resident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):  # two files of some megabytes each
        np.save(tmp_path / f"{number}.npy", np.full((6, 640, 640, 3), number, np.uint8))
    arrays = [np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(2)]
    monkeypatch.setattr(module, "HELD", 2 * module.AROUND)
    most: list[int] = []

    release = files.release

    def watched(array: NDArray[np.uint8]) -> None:
        most.append(sum(map(resident, arrays)))
        release(array)

    monkeypatch.setattr(files, "release", watched)
    rows = np.arange(12)[::-1]
    picked = every_row(arrays).pick(rows)
    streamed = np.concatenate([*picked.stream([rows[:4], rows[4:]])])
    for images in (streamed, picked.copy()[::-1]):
        assert images[:, 0, 0, 0].tolist() == [0] * 6 + [1] * 6
        assert sum(map(resident, arrays)) == 0
    # Two images of 1.2 MB at a time, and what the system maps around them: of 14.7 MB.
    assert len(most) >= 2 * 6 and max(most) < 9 << 20


NAMES = ["7", "b.c", "grüne Äpfel", "zebra.npy"]


def put(directory: Path, **classes: np.ndarray) -> None:
    for name, array in classes.items():
        write_array(directory / class_file(name), array)
    seal(directory, {})


def test_names_with_dots_spaces_and_letters_come_back(tmp_path: Path) -> None:
    write_json(tmp_path / "classes.json", [])
    put(tmp_path, **{name: random_images(seed, seed + 1) for seed, name in enumerate(NAMES)})
    assert list_classes(tmp_path) == NAMES
    arrays = read_classes(tmp_path, NAMES[::-1])
    for seed, array in zip(reversed(range(4)), arrays, strict=True):
        np.testing.assert_array_equal(array, random_images(seed, seed + 1))
        assert isinstance(array, np.memmap)


@pytest.mark.parametrize("order", ["C", "F"])
def test_images_are_written_in_parts(
    order: Literal["C", "F"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2 * 8 * 8 * 3)
    read, sizes = ImageRows.read, list[int]()
    monkeypatch.setattr(ImageRows, "read", lambda *given: sizes.append(len(given[1])) or read(*given))
    images = random_images(0, 5)
    write_array(tmp_path / "whole.npy", images)
    write_images(tmp_path / "parts.npy", every_row([np.asarray(images, order=order)]))
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert sizes == [2, 2, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_more_classes_than_a_process_may_usually_have_files_open(tmp_path: Path) -> None:
    import resource

    put(tmp_path, **{f"{label:03}": np.full((1, 1, 1, 1), 1, np.uint8) for label in range(100)})
    names, limits = list_classes(tmp_path), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        arrays = read_classes(tmp_path, names)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sum(int(one[0, 0, 0, 0]) for one in arrays) == 100


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
def test_a_damaged_file_is_named(name: str, saved: Path) -> None:
    path = saved / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamageError, match=rf"{name}\.npy: damaged, its bytes"):
        load_memory(saved)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mean_that_is_not_finite_is_named(value: float, saved: Path) -> None:
    means = MEMORY.class_means.copy()
    means[-1, -1] = value
    change(saved / "class_means.npy", means)
    with pytest.raises(UserError, match=r"class_means\.npy: not all means are finite; build it again$"):
        load_memory(saved)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("labels", np.zeros(12)),
        ("labels", np.zeros((12, 1), np.int64)),
        ("labels", np.repeat(np.arange(4), 2)),
        ("images", np.zeros((12, 8, 8), np.uint8)),
        ("class_means", np.zeros((3, 32), np.float32)),
        ("class_means", np.zeros((4, 32))),
    ],
)
def test_arrays_of_another_form_are_no_memory(name: str, array: np.ndarray, saved: Path) -> None:
    change(saved / f"{name}.npy", array)
    with pytest.raises(UserError, match=r"memory: its arrays are no memory's, or not of one; build it"):
        load_memory(saved)
