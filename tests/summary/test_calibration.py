"""Reliability and ECE against loops, and by hand."""

import numpy as np
import pytest

from der.summary.calibration import BINS, expected_calibration_error, reliability
from der.summary.charts.calibration import reliability_chart


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
    assert ece == pytest.approx(100 * expected)


def test_by_hand() -> None:
    # Two images of confidence 0.9, one right; two of 0.55, both right.
    bins = reliability(np.array([0.9, 0.9, 0.55, 0.55]), np.array([True, False, True, True]))
    assert [(one.images, one.accuracy) for one in bins] == [(2, 100), (2, 50)]
    assert expected_calibration_error(bins) == pytest.approx((45 + 40) / 2)


def test_certainty_falls_into_the_last_bin() -> None:
    (one,) = reliability(np.array([1.0, 1.0]), np.array([True, True]))
    assert one.high == 100 and expected_calibration_error([one]) == 0


def test_the_chart_shows_the_bins() -> None:
    bins = reliability(np.array([0.9, 0.9, 0.55, 0.55]), np.array([True, False, True, True]))
    accuracy, shares = reliability_chart(bins).panels
    assert accuracy.lines[0].y == (100, 50) and shares.lines[0].y == (50, 50)
    assert accuracy.lines[0].x == pytest.approx((55, 90))
    assert (accuracy.lines[1].x, accuracy.lines[1].y) == ((0, 100), (0, 100))
