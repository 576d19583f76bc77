"""Herding by its definition, on any small features."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from der.memory.herding import class_mean, herd
from der.model.normalization import normalize_features

Features = NDArray[np.float32]
VALUES = st.floats(0, 1e4, width=32)  # as after a ReLU; many are zero, and many rows equal


def features_of(rows: st.SearchStrategy[int]) -> st.SearchStrategy[Features]:
    return st.tuples(rows, st.integers(1, 6)).flatmap(
        lambda shape: arrays(np.float32, shape, elements=VALUES)
    )


FEATURES = features_of(st.integers(1, 10))


def distances(phi: NDArray[np.float64], before: list[int]) -> NDArray[np.float64]:
    """Of the mean to that of the images ``before`` and each one more (iCaRL, algorithm 4)."""
    together = phi[before].sum(axis=0) + phi
    return np.asarray(np.linalg.norm(phi.mean(axis=0) - together / (len(before) + 1), axis=1))


@given(FEATURES, st.integers(0, 12))
def test_each_pick_is_the_nearest_of_those_not_chosen(features: Features, exemplars: int) -> None:
    phi = normalize_features(features)
    chosen = herd(features, exemplars).tolist()
    assert len(set(chosen)) == len(chosen) == min(exemplars, len(features))
    for count, pick in enumerate(chosen):
        distance = distances(phi, chosen[:count])
        free = [image for image in range(len(features)) if image not in chosen[:count]]
        # Squares are compared: their rounding is the root of a distance's.
        assert distance[pick] ** 2 <= distance[free].min() ** 2 + 1e-12


@given(FEATURES, st.integers(0, 10), st.integers(0, 10))
def test_a_smaller_memory_is_a_prefix_of_a_larger(features: Features, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert herd(features, few).tolist() == herd(features, many).tolist()[:few]


@given(FEATURES, st.lists(st.integers(-8, 8), min_size=10, max_size=10))
def test_the_length_of_a_feature_does_not_count(features: Features, exponents: list[int]) -> None:
    # Above 1e-2, where the guard against zero length is no part of the digits that decide.
    features = features + np.float32(1)
    scaled = features * 2.0 ** np.array(exponents)[: len(features), None]
    one, other = herd(features, 10), herd(scaled.astype(np.float32), 10)
    phi = normalize_features(features)
    for count in range(len(features)):  # both fulfil the definition; where they part, it is a tie
        if one[count] != other[count]:
            distance = distances(phi, one[:count].tolist())
            assert abs(distance[one[count]] ** 2 - distance[other[count]] ** 2) < 1e-6
            break


@given(FEATURES)
def test_a_class_mean_is_a_unit_vector_among_the_features(features: Features) -> None:
    mean = class_mean(features)
    assert mean.shape == features.shape[1:] and mean.dtype == np.float32
    longest = np.linalg.norm(normalize_features(features), axis=1).max()
    assert np.linalg.norm(mean) <= 1 + 1e-6
    if longest > 0.5:  # not all zero, which stays zero
        assert abs(np.linalg.norm(mean) - 1) < 1e-5
