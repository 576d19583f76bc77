"""The draw of held-out test images."""

import numpy as np
import pytest

from der.data.sources import hold_out
from tests.data.sources.image_trees import settings_for


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)


@pytest.mark.parametrize(
    ("count", "fraction", "test_count"),
    [
        (10, 0.2, 2),
        (178, 0.2, 36),
        (7, 0.5, 4),
        (2, 0.01, 1),
        (2, 0.99, 1),
        (100, 0.999, 99),
        (100, 0.001, 1),
    ],
)
def test_count_is_the_nearest_that_leaves_both_sides_one(
    count: int, fraction: float, test_count: int
) -> None:
    divided = hold_out("cat", images(count), settings_for("", test_fraction=fraction))
    assert (len(divided.train), len(divided.test)) == (count - test_count, test_count)


def test_every_image_lands_on_one_side_in_order() -> None:
    divided = hold_out("cat", images(50), settings_for(""))
    both = np.concatenate([divided.train, divided.test]).ravel()
    assert sorted(both) == list(range(50))
    assert np.all(np.diff(divided.train.ravel().astype(int)) > 0)
    assert np.all(np.diff(divided.test.ravel().astype(int)) > 0)


def test_draw_depends_on_seed_and_class_and_repeats() -> None:
    def drawn(name: str, seed: int) -> list[int]:
        return list(hold_out(name, images(50), settings_for("", seed=seed)).test.ravel())

    assert drawn("cat", 0) == drawn("cat", 0)
    assert drawn("cat", 0) != drawn("cat", 1)
    assert drawn("cat", 0) != drawn("dog", 0)
    assert drawn("Füchse 狐", 2**32 - 1) == drawn("Füchse 狐", 2**32 - 1)


def test_draw_stays_what_it_was() -> None:
    order = np.random.RandomState([3, *b"cat"]).permutation(8)
    divided = hold_out("cat", images(8), settings_for("", seed=3))
    assert sorted(order[:2]) == list(divided.test.ravel())
