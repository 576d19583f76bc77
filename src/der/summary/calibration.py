"""Whether predictions are right as often as the network is sure of them.

# B test images
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from der.summary.uncertainty import Measured, sampling_error

BINS = 15  # of equal width, as Guo et al. have them


class Bin(NamedTuple):
    """The images of a range of confidence; percentages."""

    low: float  # excluded
    high: float  # included
    images: int
    confidence: float  # mean
    accuracy: float


def reliability(confidence_B: NDArray[np.floating], right_B: NDArray[np.bool_]) -> list[Bin]:
    """The bins that hold an image, by confidence (Guo et al., ICML 2017, section 2)."""
    confidence = confidence_B.astype(np.float64)
    places_B = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = []
    for place in np.unique(places_B).tolist():
        inside = places_B == place
        mean, hits = 100 * float(confidence[inside].mean()), 100 * float(right_B[inside].mean())
        bins.append(Bin(100 * place / BINS, 100 * (place + 1) / BINS, int(inside.sum()), mean, hits))
    return bins


def expected_calibration_error(bins: list[Bin]) -> Measured:
    """ECE in points: the mean over images of their bin's gap between accuracy and confidence.

    Every bin has images of its own, and the sampling error of its accuracy.
    """
    images = sum(one.images for one in bins)
    gaps = [one.images * abs(one.accuracy - one.confidence) for one in bins]
    errors = [one.images * sampling_error(one.accuracy, one.images) for one in bins]
    return Measured(sum(gaps) / images, math.hypot(*errors) / images)


def least_calibration_error(bins: list[Bin]) -> float:
    """The ECE that a network as sure as it is right would show on average, with these images in these bins.

    By sampling alone: the mean of a normal deviate's absolute value is sqrt(2 / pi) standard deviations.
    """
    images = sum(one.images for one in bins)
    deviations = [math.sqrt(one.images * one.confidence * (100 - one.confidence)) for one in bins]
    return math.sqrt(2 / math.pi) * sum(deviations) / images
