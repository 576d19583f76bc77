"""Images picked from several arrays: the same as from one array of all, and none copied before it is read."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from der.core import mapped
from der.data import image_rows
from der.data.arrays import ImageRows, every_row, join
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
        np.testing.assert_array_equal(images.read(np.array([len(whole) - 1, 0])), whole[[-1, 0]])


def test_of_no_index_there_is_nothing() -> None:
    images, none = every_row(draw_arrays([3, 4])), np.empty(0, np.int64)
    images.expect(none)  # as a rank without a share of a small batch does
    assert images.read(none).shape == images.pick(none).copy().shape == (0, 8, 8, 3)
    assert [*images.pick(none).parts()] == []


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=3))
def test_joined_ones_follow_each_other(groups: list[list[int]]) -> None:
    found = [every_row(draw_arrays(counts)) for counts in groups]
    picked = [images.pick(np.arange(len(images))[::-2]) for images in found]
    expected = np.concatenate([images.copy() for images in picked])
    np.testing.assert_array_equal(join(picked).copy(), expected)


@pytest.mark.parametrize("empty", [np.empty((0, 0, 0, 0), np.uint8), random_images(0, 3)[:0]])
def test_those_without_images_count_for_nothing(empty: NDArray[np.uint8]) -> None:
    images = every_row([random_images(1, 3)])
    for several in ([every_row([empty]), images], [images, every_row([empty])]):
        assert join(several).shape == (8, 8, 3)
        np.testing.assert_array_equal(join(several).copy(), images.copy())
    assert len(join([every_row([empty])])) == 0
    assert [*every_row([empty]).parts()] == []


def test_parts_are_of_some_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_rows, "CHUNK", 2 * SIZE + 1)
    images = every_row(draw_arrays([3, 4])).pick(np.array([6, 2, 3, 3, 0]))
    parts = [*images.parts()]
    assert [len(part) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(parts), images.copy())


@pytest.fixture
def on_disk(tmp_path: Path) -> ImageRows:
    """Two files of some dozen megabytes each."""
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.full((30, 640, 640, 3), number, np.uint8))
    return every_row([np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(2)])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell what is resident")
def test_of_large_files_nothing_stays_resident(on_disk: ImageRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_rows, "HELD", 3 * mapped.AROUND)
    most: list[int] = []

    def watched(array: NDArray[np.uint8]) -> None:
        most.append(sum(map(resident, on_disk.arrays)))
        mapped.release(array)

    monkeypatch.setattr(image_rows, "release", watched)
    rows = np.arange(60)[::-1]
    picked = on_disk.pick(rows)
    picked.expect(rows)
    for images in (picked.read(rows), picked.copy()[::-1], np.concatenate([*picked.parts()])[::-1]):
        assert images[:, 0, 0, 0].tolist() == [0] * 30 + [1] * 30
        assert sum(map(resident, on_disk.arrays)) == 0
    # Three images of 1.2 MB at a time, and what the system maps around them.
    assert len(most) >= 3 * 20 and max(most) < 16 << 20


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell what is resident")
def test_small_files_are_let_alone(on_disk: ImageRows) -> None:
    assert sum(map(resident, on_disk.arrays)) == 0
    assert on_disk.copy()[[0, -1], 0, 0, 0].tolist() == [0, 1]
    assert sum(map(resident, on_disk.arrays)) > 60 * 640 * 640 * 3 / 2
