"""Sampling errors, reliability and ECE against their definitions and simulated samples."""

import math

import numpy as np
import pytest

from der.summary.verdict import (
    BINS,
    NORMAL,
    expected_calibration_error,
    least_calibration_error,
    reliability,
    sampling_error,
    wilson,
)


def test_interval_by_hand() -> None:
    low, high = wilson(97.2145, 359)  # 349 of 359, from a table of Wilson intervals
    assert (round(low, 2), round(high, 2)) == (94.95, 98.48)
    assert sampling_error(97.2145, 359) == pytest.approx((high - low) / 2)


@pytest.mark.parametrize(("right", "images"), [(349, 359), (0, 20), (20, 20), (1, 1), (6500, 10000)])
def test_ends_of_the_interval_solve_wilsons_equation(right: int, images: int) -> None:
    """The ends are the shares p from which the measured one is 1.96 sqrt(p (1 - p) / n) away."""
    share = right / images
    for end in wilson(100 * share, images):
        p = end / 100
        if 0 < p < 1:
            assert abs(share - p) == pytest.approx(NORMAL * math.sqrt(p * (1 - p) / images), rel=1e-9)


def test_bins_and_error_match_the_definition() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1, 500).astype(np.float32)
    right = rng.uniform(size=500) < confidence**2
    expected = 0.0
    bins = iter(reliability(confidence, right))
    for place in range(BINS):
        inside = [i for i in range(500) if place / BINS < float(confidence[i]) <= (place + 1) / BINS]
        if inside:
            one = next(bins)
            accuracy = sum(right[i] for i in inside) / len(inside)
            mean = sum(float(confidence[i]) for i in inside) / len(inside)
            assert (one.images, one.accuracy) == (len(inside), pytest.approx(100 * accuracy))
            assert one.low < one.confidence <= one.high and one.confidence == pytest.approx(100 * mean)
            expected += len(inside) / 500 * abs(accuracy - mean)
    assert next(bins, None) is None
    ece = expected_calibration_error(reliability(confidence, right))
    assert ece.value == pytest.approx(100 * expected)


def test_bins_by_hand() -> None:
    # Two images of confidence 0.9, one right; two of 0.55, both right.
    bins = reliability(np.array([0.9, 0.9, 0.55, 0.55]), np.array([True, False, True, True]))
    assert [(one.images, one.accuracy) for one in bins] == [(2, 100), (2, 50)]
    assert expected_calibration_error(bins).value == pytest.approx((45 + 40) / 2)
    (one,) = reliability(np.array([1.0, 1.0]), np.array([True, True]))  # certainty is in the last bin
    assert one.high == 100 and expected_calibration_error([one]).value == 0


def test_sampling_alone_makes_a_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.4, 1, (300, 400))
    bins = [reliability(one, rng.uniform(size=400) < one) for one in confidences]
    mean = np.mean([expected_calibration_error(one).value for one in bins])
    assert least_calibration_error(bins[0]) == pytest.approx(mean, rel=0.1)
