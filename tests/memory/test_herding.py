"""Herding against a word-for-word transcription of iCaRL's algorithm 4."""

import numpy as np
import pytest
from numpy.typing import NDArray

from der.memory.herding import class_mean, herd
from der.model.normalization import normalize_features


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


@pytest.mark.parametrize(("images", "features"), [(3, 5), (20, 64), (40, 3), (33, 130)])
@pytest.mark.parametrize("seed", range(5))
def test_the_same_exemplars_in_the_same_order(seed: int, images: int, features: int) -> None:
    values = random_features(seed, images, features) + np.float32(1e-3)
    # Not to the end: the last picks of a class are often ties but for rounding.
    count = max(1, images * 3 // 4)
    assert herd(values, count).tolist() == icarl(values, count)


@pytest.mark.parametrize("features", [3, 16, 64, 130])
@pytest.mark.parametrize("kinds", [30, 12, 1])  # fewer than images: some are equal
def test_each_pick_is_the_best_of_those_left(kinds: int, features: int) -> None:
    values = random_features(7, kinds, features)[np.random.RandomState(0).permutation(30) % kinds]
    phi = normalize_features(values)
    chosen = herd(values, 30).tolist()
    assert sorted(chosen) == list(range(30))
    for count in range(1, 31):
        before = phi[chosen[: count - 1]].sum(0)
        distances = np.linalg.norm(phi.mean(0) - (before + phi) / count, axis=1)
        left = [x for x in range(30) if x not in chosen[: count - 1]]
        assert distances[chosen[count - 1]] <= distances[left].min() + 1e-12


def test_zero_features_are_all_alike() -> None:
    assert herd(np.zeros((4, 3), np.float32), 4).tolist() == [0, 1, 2, 3]


def test_a_zero_feature_stays_zero_and_is_no_fault() -> None:
    values = random_features(3, 12, 6) + np.float32(1e-3)
    values[5] = 0
    np.testing.assert_array_equal(normalize_features(values)[5], 0)
    assert herd(values, 8).tolist() == icarl(values, 8)


def test_a_hand_made_class() -> None:
    # The mean points to 45 degrees. Image 2 lies on it; then 0 and 1 balance each other.
    values = np.array([[5, 0], [0, 5], [3, 3], [4, 1]], np.float32)
    assert herd(values, 1).tolist() == icarl(values, 1) == [2]


def test_class_mean_against_the_formula() -> None:
    values = random_features(4, 15, 9)
    unit = [row / (np.sqrt(np.sum(row**2)) + 1e-8) for row in values.astype(np.float64)]
    mean = sum(unit) / len(unit)
    expected = mean / (np.sqrt(np.sum(mean**2)) + 1e-8)
    result = class_mean(values)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert np.linalg.norm(result) == pytest.approx(1, rel=1e-6)


def test_class_mean_of_nothing_but_zeros_is_zero() -> None:
    np.testing.assert_array_equal(class_mean(np.zeros((3, 4), np.float32)), 0)


def test_features_are_left_as_they_were() -> None:
    values = random_features(5, 10, 4).astype(np.float64)
    before = values.copy()
    herd(values, 5)
    class_mean(values)
    np.testing.assert_array_equal(values, before)
