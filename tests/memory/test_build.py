"""The memory over several steps, and its files."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from der.core.errors import UserError
from der.data.exemplars import Memory, empty_memory
from der.data.image_rows import ImageRows
from der.memory.build import build_memory
from der.memory.herding import herd
from der.memory.selection import SELECTIONS
from der.settings.sections import MemorySettings
from tests.builders import memory_settings, random_images

PER_STEP = [[9, 7], [8, 10], [2]]  # images of each new class
Images = NDArray[np.uint8]
Features = Callable[[Images], NDArray[np.float32]]


def features_at(step: int) -> Features:
    """Random projections that differ from step to step, and grow as super-features do."""
    projection = np.random.RandomState(step).normal(size=(192, 16 * step))

    def features(images: Images) -> NDArray[np.float32]:
        return np.maximum(images.reshape(len(images), -1) / 255 @ projection, 0).astype(np.float32)

    return features


def each_at(step: int) -> Callable[[Sequence[Images]], Iterator[NDArray[np.float32]]]:
    """Those of several classes."""
    return partial(map, features_at(step))


def new_images(step: int) -> list[Images]:
    return [random_images(10 * step + index, count) for index, count in enumerate(PER_STEP[step - 1])]


def all_steps(settings: MemorySettings) -> list[Memory]:
    """M_0 to M_3."""
    memories = [empty_memory()]
    for step in (1, 2, 3):
        memories.append(build_memory(memories[-1], new_images(step), settings, each_at(step)))
    return memories


TOTAL = memory_settings(budget=15, allocation="total")
PER_CLASS = memory_settings(budget=4, allocation="per_class")


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        (TOTAL, [[7, 7], [3, 3, 3, 3], [3, 3, 3, 3, 2]]),
        (PER_CLASS, [[4, 4], [4, 4, 4, 4], [4, 4, 4, 4, 2]]),
        (memory_settings(budget=5), [[2, 2], [1] * 4, [1] * 5]),
        (memory_settings(budget=999, allocation="per_class"), [[9, 7], [9, 7, 8, 10], [9, 7, 8, 10, 2]]),
    ],
)
def test_exemplars_of_each_class(settings: MemorySettings, counts: list[list[int]]) -> None:
    for memory, expected in zip(all_steps(settings)[1:], counts, strict=True):
        assert memory.labels.tolist() == [c for c, count in enumerate(expected) for _ in range(count)]
        assert memory.images.copy().shape == (sum(expected), 8, 8, 3)
        assert memory.images.copy().dtype == np.uint8
        assert memory.labels.dtype == np.int64


@pytest.mark.parametrize("settings", [TOTAL, PER_CLASS], ids=["total", "per class"])
def test_old_classes_keep_the_first_of_their_order(settings: MemorySettings) -> None:
    memories = all_steps(settings)
    for previous, memory in itertools.pairwise(memories):
        for label in range(len(previous.class_means)):
            kept = memory.of_class(label).copy()
            np.testing.assert_array_equal(kept, previous.of_class(label).copy()[: len(kept)])


@pytest.mark.parametrize("settings", [TOTAL, PER_CLASS], ids=["total", "per class"])
def test_new_classes_are_herded_with_the_current_features(settings: MemorySettings) -> None:
    label = 0
    for step, memory in enumerate(all_steps(settings)[1:], start=1):
        for images in new_images(step):
            exemplars = memory.of_class(label).copy()
            order = herd(features_at(step)(images), len(exemplars))
            np.testing.assert_array_equal(exemplars, images[order])
            label += 1


def test_means_of_all_classes_are_renewed() -> None:
    for step, memory in enumerate(all_steps(TOTAL)[1:], start=1):
        assert memory.class_means.dtype == np.float32
        assert memory.class_means.shape == (sum(map(len, PER_STEP[:step])), 16 * step)
        for label, mean in enumerate(memory.class_means):
            features = features_at(step)(memory.of_class(label).copy()).astype(np.float64)
            unit = features / (np.sqrt((features**2).sum(1, keepdims=True)) + 1e-8)
            expected = unit.sum(0) / len(unit)
            expected /= np.sqrt((expected**2).sum()) + 1e-8
            np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-7)


def test_a_budget_that_leaves_a_class_without_exemplar() -> None:
    settings = memory_settings(budget=3, allocation="total")
    first = build_memory(empty_memory(), new_images(1), settings, each_at(1))
    message = r"^memory\.budget: 3 leaves no exemplar for each of 4 classes; write at least 4$"
    with pytest.raises(UserError, match=message):
        build_memory(first, new_images(2), settings, each_at(2))


def test_no_exemplar_is_copied_before_it_is_read() -> None:
    classes = [random_images(0, 9), random_images(1, 7)]
    first = build_memory(empty_memory(), classes, TOTAL, each_at(1))
    assert all(np.shares_memory(*pair) for pair in zip(first.images.arrays, classes, strict=True))
    own = first.copy()
    np.testing.assert_array_equal(own.images.copy(), first.images.copy())
    assert not any(np.shares_memory(array, own.images.arrays[0]) for array in classes)
    classes[0][:] = 0
    assert not np.array_equal(own.images.copy(), first.images.copy())


def test_one_class_s_exemplars_are_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_memory(empty_memory(), new_images(1), TOTAL, each_at(1))
    copy, deeds = ImageRows.copy, list[str]()
    monkeypatch.setattr(ImageRows, "copy", lambda images: deeds.append("read") or copy(images))

    def features(classes: Iterable[Images]) -> Iterator[NDArray[np.float32]]:
        for images in classes:
            deeds.append("used")
            yield features_at(2)(images)

    build_memory(before, new_images(2), TOTAL, features)
    assert deeds == ["read", "used", "read", "used", "used", "used"]


RANDOM = memory_settings(selection="random")


@pytest.mark.parametrize(
    "settings", [RANDOM, replace(PER_CLASS, selection="random")], ids=["total", "per class"]
)
def test_random_exemplars(settings: MemorySettings) -> None:
    memories, again = all_steps(settings), all_steps(settings)
    herded = all_steps(replace(settings, selection="herding"))
    other = all_steps(replace(settings, seed=1))
    label = 0
    for step in (1, 2, 3):
        np.testing.assert_array_equal(memories[step].images.copy(), again[step].images.copy())
        assert memories[step].labels.tolist() == herded[step].labels.tolist()
        assert not np.array_equal(memories[step].images.copy(), herded[step].images.copy())
        assert not np.array_equal(memories[step].images.copy(), other[step].images.copy())
        for images in new_images(step):
            chosen = [image.tobytes() for image in memories[step].of_class(label).copy()]
            assert len(set(chosen)) == len(chosen)  # without replacement
            assert set(chosen) <= {image.tobytes() for image in images}
            label += 1
        for old in range(len(memories[step - 1].class_means)):
            kept = memories[step].of_class(old).copy()
            np.testing.assert_array_equal(kept, memories[step - 1].of_class(old).copy()[: len(kept)])


def test_random_selection_sees_no_features_and_favours_none() -> None:
    features, select = features_at(1)(random_images(0, 40)), SELECTIONS["random"]
    picks = [select(features, 10, replace(RANDOM, seed=seed), 3) for seed in range(400)]
    np.testing.assert_array_equal(picks[0], select(np.zeros_like(features), 10, RANDOM, 3))
    assert not np.array_equal(picks[0], select(features, 10, RANDOM, 4))  # of another class
    assert all(len(set(one.tolist())) == 10 for one in picks)
    counts = np.bincount(np.concatenate(picks), minlength=40)  # 100 each
    assert counts.min() > 60 and counts.max() < 140
    assert sorted(select(features, 99, RANDOM, 0).tolist()) == list(range(40))
