"""Reliability and ECE against loops, and by hand."""

import numpy as np
import pytest

from der.summary.calibration import (
    BINS,
    Bin,
    expected_calibration_error,
    least_calibration_error,
    reliability,
)
from der.summary.charts.calibration import reliability_chart
from der.summary.uncertainty import NORMAL


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


def test_by_hand() -> None:
    # Two images of confidence 0.9, one right; two of 0.55, both right.
    bins = reliability(np.array([0.9, 0.9, 0.55, 0.55]), np.array([True, False, True, True]))
    assert [(one.images, one.accuracy) for one in bins] == [(2, 100), (2, 50)]
    assert expected_calibration_error(bins).value == pytest.approx((45 + 40) / 2)


def test_certainty_falls_into_the_last_bin() -> None:
    (one,) = reliability(np.array([1.0, 1.0]), np.array([True, True]))
    assert one.high == 100 and expected_calibration_error([one]).value == 0


def sampled(rng: np.random.Generator, truth: float) -> list[Bin]:
    """Bins of 400 images: the network is right as often as its confidence to the power of ``truth``."""
    confidence = rng.uniform(0.4, 1, 400)
    return reliability(confidence, rng.uniform(size=400) < confidence**truth)


def test_sampling_alone_makes_a_calibration_error() -> None:
    rng = np.random.default_rng(0)
    bins = [sampled(rng, 1) for _ in range(300)]
    mean = np.mean([expected_calibration_error(one).value for one in bins])
    assert least_calibration_error(bins[0]) == pytest.approx(mean, rel=0.1)


def test_the_error_of_a_calibration_error_is_that_of_its_samples() -> None:
    rng = np.random.default_rng(1)
    errors = [expected_calibration_error(sampled(rng, 3)) for _ in range(300)]  # far from calibrated
    spread = NORMAL * np.std([one.value for one in errors])
    assert np.mean([one.error or 0.0 for one in errors]) == pytest.approx(spread, rel=0.15)


def test_the_chart_shows_the_bins() -> None:
    bins = reliability(np.array([0.9, 0.9, 0.55, 0.55]), np.array([True, False, True, True]))
    accuracy, shares = reliability_chart(bins).panels
    assert accuracy.lines[0].y == (100, 50) and shares.lines[0].y == (50, 50)
    assert accuracy.lines[0].x == pytest.approx((55, 90))
    assert (accuracy.lines[1].x, accuracy.lines[1].y) == ((0, 100), (0, 100))
