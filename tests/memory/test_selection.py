"""Selections of exemplars by name."""

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from der.core.errors import UserError
from der.data.exemplars import empty_memory
from der.memory.build import build_memory
from der.memory.selection import SELECTIONS, find_selection
from der.settings.sections import MemorySettings
from tests.builders import memory_settings, random_images


def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1)[:, :16].astype(np.float32)


EACH = partial(map, features)  # of several classes


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("wanted", [1, 5, 9, 20])
def test_each_is_an_order_of_the_images(name: str, wanted: int) -> None:
    features_ND = features(random_images(0, 9))
    indices = SELECTIONS[name](features_ND, wanted, memory_settings(), 3)
    assert indices.dtype == np.int64
    assert len(set(indices.tolist())) == len(indices) == min(wanted, 9)
    assert set(indices.tolist()) <= set(range(9))


@pytest.mark.parametrize("name", SELECTIONS)
def test_fewer_exemplars_are_the_first_of_more(name: str) -> None:
    features_ND = features(random_images(0, 9))
    few, many = (SELECTIONS[name](features_ND, wanted, memory_settings(), 3).tolist() for wanted in (4, 8))
    assert few == many[:4]


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


def test_a_name_that_stands_for_nothing() -> None:
    settings = memory_settings(selection="nearest")
    message = r"^memory\.selection: 'nearest' does not fit; write herding or random, "
    with pytest.raises(UserError, match=message):
        build_memory(empty_memory(), [random_images(0, 4)], settings, EACH)


FEATURES = features(random_images(1, 5))


@pytest.mark.parametrize(
    ("returned", "fault"),
    [
        (None, "returns object of shape (); return whole numbers (n,), indices of images"),
        ([0.0, 1.0, 2.0], "returns float64 of shape (3,); return whole numbers (n,), indices of images"),
        ([True, True, True], "returns bool of shape (3,); return whole numbers (n,), indices of images"),
        ([[0, 1, 2]], "returns int64 of shape (1, 3); return whole numbers (n,), indices of images"),
        ([0, 1, 2, 3], "chooses 4 of 5 images; choose 3"),
        ([0, 1], "chooses 2 of 5 images; choose 3"),
        ([0, 1, 1], "chooses an image twice; choose each once"),
        ([0, 1, 5], "chooses images 0 to 5; choose from 0 to 4"),
        ([-1, 1, 2], "chooses images -1 to 2; choose from 0 to 4"),
    ],
)
def test_what_is_no_choice_is_one_sentence(
    returned: object, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SELECTIONS, "own", lambda *_: returned)
    with pytest.raises(UserError) as caught:
        find_selection(memory_settings(selection="own"))(FEATURES, 3, memory_settings(), 0)
    assert str(caught.value) == f"memory.selection: own {fault}"


def test_any_whole_numbers_in_a_sequence_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SELECTIONS, "own", lambda *_: [4, 0, 2])
    chosen = find_selection(memory_settings(selection="own"))(FEATURES, 3, memory_settings(), 0)
    assert chosen.dtype == np.int64 and chosen.tolist() == [4, 0, 2]


def test_all_images_of_a_class_that_has_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SELECTIONS, "own", lambda features_ND, *_: np.arange(len(features_ND)))
    assert len(find_selection(memory_settings(selection="own"))(FEATURES, 9, memory_settings(), 0)) == 5


def test_a_selection_cannot_change_what_class_means_are_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiling(features_ND: NDArray[np.float32], *_: object) -> NDArray[np.int64]:
        features_ND /= 2
        return np.arange(3)

    monkeypatch.setitem(SELECTIONS, "own", spoiling)
    features_ND = FEATURES.copy()
    with pytest.raises(ValueError, match="read-only"):
        find_selection(memory_settings(selection="own"))(features_ND, 3, memory_settings(), 0)
    assert np.array_equal(features_ND, FEATURES) and features_ND.flags.writeable
