"""The memory: how many exemplars, which ones (against iCaRL's algorithm 4), and the class means."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from der.core.errors import UserError
from der.data.arrays import Memory, check_budget, empty_memory, exemplars_per_class
from der.memory import SELECTIONS, build_memory, find_selection, herd
from der.settings.sections import MemorySettings
from tests.builders import memory_settings, random_images

BUDGETS = st.integers(1, 10**7)

CLASSES = st.integers(1, 10**4)


@pytest.mark.parametrize(
    ("allocation", "classes", "expected"),
    [("total", 25, 80), ("total", 75, 26), ("total", 2001, 0), ("per_class", 75, 2000)],
)
def test_exemplars_per_class(allocation: str, classes: int, expected: int) -> None:
    settings = memory_settings(budget=2000, allocation=allocation)
    assert exemplars_per_class(settings, classes) == expected


@given(BUDGETS, CLASSES)
def test_a_budget_is_refused_exactly_where_a_class_would_go_without(budget: int, classes: int) -> None:
    settings = memory_settings(budget=budget, allocation="total")
    if budget >= classes:
        check_budget(settings, classes)
        return
    with pytest.raises(UserError, match=rf"^memory\.budget: {budget} leaves no .* write at least {classes}$"):
        check_budget(settings, classes)
    check_budget(memory_settings(budget=classes, allocation="total"), classes)  # what the message says
    check_budget(memory_settings(budget=budget, allocation="per_class"), classes)


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


def test_more_images_of_an_old_class_are_herded_with_its_exemplars() -> None:
    before = all_steps(PER_CLASS)[1]
    more = [random_images(77, 5), random_images(78, 0)]
    memory = build_memory(before, new_images(2), PER_CLASS, each_at(2), more)
    both = np.concatenate([before.of_class(0).copy(), more[0]])
    np.testing.assert_array_equal(memory.of_class(0).copy(), both[herd(features_at(2)(both), 4)])
    usual = build_memory(before, new_images(2), PER_CLASS, each_at(2))
    for label in (1, 2, 3):
        np.testing.assert_array_equal(memory.of_class(label).copy(), usual.of_class(label).copy())
        np.testing.assert_array_equal(memory.class_means[label], usual.class_means[label])
    assert [before.beside(more).labels.tolist().count(label) for label in (0, 1)] == [9, 4]


RANDOM = memory_settings(selection="random")


def test_random_selection_sees_no_features_and_favours_none() -> None:
    features, select = features_at(1)(random_images(0, 40)), SELECTIONS["random"]
    picks = [select(features, 10, replace(RANDOM, seed=seed), 3) for seed in range(400)]
    np.testing.assert_array_equal(picks[0], select(np.zeros_like(features), 10, RANDOM, 3))
    assert not np.array_equal(picks[0], select(features, 10, RANDOM, 4))  # of another class
    assert all(len(set(one.tolist())) == 10 for one in picks)
    counts = np.bincount(np.concatenate(picks), minlength=40)  # 100 each
    assert counts.min() > 60 and counts.max() < 140
    assert sorted(select(features, 99, RANDOM, 0).tolist()) == list(range(40))


def icarl(features: NDArray[np.float32], exemplars: int) -> list[int]:
    """Rebuffi et al. 2017, algorithm 4, in float64, without replacement."""
    phi = [row.astype(np.float64) / (np.sqrt(np.sum(row.astype(np.float64) ** 2)) + 1e-8) for row in features]
    mu = sum(phi) / len(phi)
    chosen: list[int] = []
    for k in range(1, min(exemplars, len(phi)) + 1):
        best, nearest = -1, np.inf
        for x in range(len(phi)):
            if x in chosen:
                continue
            candidate = (phi[x] + sum((phi[j] for j in chosen), np.zeros_like(mu))) / k
            distance = np.sqrt(np.sum((mu - candidate) ** 2))
            if distance < nearest:
                best, nearest = x, distance
        chosen.append(best)
    return chosen


def random_features(seed: int, images: int, features: int) -> NDArray[np.float32]:
    """As after a ReLU: not negative, of very different norms."""
    rng = np.random.RandomState(seed)
    scales = np.exp(rng.normal(size=(images, 1)))
    return (np.maximum(rng.normal(0.2, 1, (images, features)), 0) * scales).astype(np.float32)


@pytest.mark.parametrize(("images", "features"), [(3, 5), (40, 3), (33, 130)])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_exemplars_in_the_same_order(seed: int, images: int, features: int) -> None:
    values = random_features(seed, images, features) + np.float32(1e-3)
    # Not to the end: the last picks of a class are often ties but for rounding.
    count = max(1, images * 3 // 4)
    assert herd(values, count).tolist() == icarl(values, count)


def first_pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1)[:, :16].astype(np.float32)


EACH = partial(map, first_pixels)  # of several classes


def test_one_of_ones_own_is_asked_for_every_new_class(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def last(
        features_ND: NDArray[np.float32], exemplars: int, settings: MemorySettings, label: int
    ) -> NDArray[np.int64]:
        asked.append((exemplars, label))
        return np.arange(len(features_ND))[::-1][:exemplars]

    monkeypatch.setitem(SELECTIONS, "last", last)
    classes = [random_images(seed, 6) for seed in (1, 2)]
    memory = build_memory(empty_memory(), classes, memory_settings(budget=6, selection="last"), EACH)
    assert asked == [(3, 0), (3, 1)]
    np.testing.assert_array_equal(memory.images.copy(), np.concatenate([one[:2:-1] for one in classes]))


FIVE = first_pixels(random_images(1, 5))


@pytest.mark.parametrize(
    "returned", [None, [0.0, 1, 2], [[0, 1, 2]], [0, 1, 2, 3], [0, 1, 1], [0, 1, 5], [-1, 1, 2]]
)
def test_what_is_no_choice_is_refused(returned: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SELECTIONS, "own", lambda *_: returned)
    with pytest.raises(UserError) as caught:
        find_selection(memory_settings(selection="own"))(FIVE, 3, memory_settings(), 0)
    wanted = "return 3 different indices of 5 images"
    assert str(caught.value) == f"memory.selection: own returns {np.asarray(returned)}; {wanted}"


def test_a_selection_cannot_change_what_class_means_are_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiling(features_ND: NDArray[np.float32], *_: object) -> NDArray[np.int64]:
        features_ND /= 2
        return np.arange(3)

    monkeypatch.setitem(SELECTIONS, "own", spoiling)
    features_ND = FIVE.copy()
    with pytest.raises(ValueError, match="read-only"):
        find_selection(memory_settings(selection="own"))(features_ND, 3, memory_settings(), 0)
    assert np.array_equal(features_ND, FIVE) and features_ND.flags.writeable
