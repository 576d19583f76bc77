"""Sampling errors against their definition and against simulated samples."""

import math

import numpy as np
import pytest

from der.summary.uncertainty import (
    NORMAL,
    error_of_difference,
    error_of_separate_mean,
    error_of_shared_mean,
    sampling_error,
    wilson,
)


@pytest.mark.parametrize(("right", "images"), [(349, 359), (0, 20), (20, 20), (1, 1), (6500, 10000)])
def test_ends_of_the_interval_solve_wilsons_equation(right: int, images: int) -> None:
    """The ends are the shares p from which the measured one is 1.96 sqrt(p (1 - p) / n) away."""
    share = right / images
    for end in wilson(100 * share, images):
        p = end / 100
        if 0 < p < 1:
            assert abs(share - p) == pytest.approx(NORMAL * math.sqrt(p * (1 - p) / images), rel=1e-9)


def test_by_hand() -> None:
    low, high = wilson(97.2145, 359)  # 349 of 359, from a table of Wilson intervals
    assert (round(low, 2), round(high, 2)) == (94.95, 98.48)
    assert sampling_error(97.2145, 359) == pytest.approx((high - low) / 2)


def test_all_right_is_not_without_error() -> None:
    low, high = wilson(100, 20)
    assert high == 100 and low == pytest.approx(100 * 20 / (20 + NORMAL**2))
    assert sampling_error(0, 20) == pytest.approx(sampling_error(100, 20))
    assert sampling_error(0, 20) > 0


def test_the_interval_holds_the_truth_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    for truth in (0.6, 0.97):
        hits = rng.binomial(359, truth, 2000)
        inside = [low <= 100 * truth <= high for low, high in (wilson(100 * n / 359, 359) for n in hits)]
        assert 0.93 < np.mean(inside) < 0.97


def test_means_and_differences_against_simulated_samples() -> None:
    rng = np.random.default_rng(1)
    one, other = (100 * rng.binomial(500, 0.8, 4000) / 500 for _ in range(2))
    error = sampling_error(80, 500)
    assert NORMAL * np.std(one - other) == pytest.approx(error_of_difference(error, error), rel=0.05)
    assert NORMAL * np.std((one + other) / 2) == pytest.approx(
        error_of_separate_mean([error, error]), rel=0.05
    )
    assert NORMAL * np.std((one + one) / 2) == pytest.approx(error_of_shared_mean([error, error]), rel=0.05)
