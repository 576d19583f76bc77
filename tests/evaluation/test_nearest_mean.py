"""Nearest mean of exemplars against distances one by one."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from der.evaluation.nearest_mean import nearest_mean_scores


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_mean_scores_are_negative_distances(
    dtype: type[np.floating[Any]], rng: np.random.Generator
) -> None:
    features: NDArray[np.floating[Any]] = (3 * rng.normal(size=(20, 6))).astype(dtype)
    means: NDArray[np.floating[Any]] = rng.normal(size=(4, 6)).astype(dtype)
    scores = nearest_mean_scores(features, means)
    for i, feature in enumerate(features.astype(np.float64)):
        for c, mean in enumerate(means.astype(np.float64)):
            unit = feature / (np.sqrt(np.sum(feature**2)) + 1e-8)
            assert scores[i, c] == pytest.approx(-np.sqrt(np.sum((unit - mean) ** 2)), rel=1e-9)


def test_nearest_mean_at_the_mean_and_at_zero() -> None:
    means = np.array([[0.6, 0.8], [1.0, 0.0]])
    scores = nearest_mean_scores(np.array([[6.0, 8.0], [0.0, 0.0]]), means)
    np.testing.assert_allclose(scores[0], [0, -np.sqrt(0.8)], atol=1e-7)
    np.testing.assert_allclose(scores[1], [-1, -1])
