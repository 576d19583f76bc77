"""Selections of exemplars by name."""

import numpy as np
import pytest
from numpy.typing import NDArray

from der.common.errors import UserError
from der.data.exemplars import empty_memory
from der.memory.build import build_memory
from der.memory.selection import SELECTIONS
from der.settings.memory import MemorySettings
from tests.builders import memory_settings, random_images


def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1)[:, :16].astype(np.float32)


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
    memory = build_memory(empty_memory(), classes, memory_settings(budget=6, selection="last"), features)
    assert asked == [(3, 0), (3, 1)]
    np.testing.assert_array_equal(memory.images, np.concatenate([one[:2:-1] for one in classes]))


def test_a_name_that_stands_for_nothing() -> None:
    settings = memory_settings(selection="nearest")
    message = r"^memory\.selection: 'nearest' does not fit; write herding or random, "
    with pytest.raises(UserError, match=message):
        build_memory(empty_memory(), [random_images(0, 4)], settings, features)
