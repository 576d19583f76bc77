"""How far a measured accuracy may be from the true one, and how far confidence is from accuracy.

Errors are half-widths of 95 % intervals, in points; accuracies are in percent.

# B test images
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NORMAL = 1.959963984540054  # 97.5 % quantile of the normal distribution
BINS = 15  # of equal width, as Guo et al. have them


class Interval(NamedTuple):
    """From where to where, in percent."""

    low: float
    high: float


class Measured(NamedTuple):
    """A number and its error, None where that is not known."""

    value: float
    error: float | None


def wilson(accuracy: float, images: int) -> Interval:
    """Wilson's 95 % interval (1927) of an accuracy on so many independent test images."""
    share, z2 = accuracy / 100, NORMAL**2
    centre = (share + z2 / (2 * images)) / (1 + z2 / images)
    spread = NORMAL / (1 + z2 / images) * math.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
    return Interval(100 * max(centre - spread, 0.0), 100 * min(centre + spread, 1.0))


def sampling_error(accuracy: float, images: int) -> float:
    """Half of ``wilson``'s interval, which is not zero at 0 or 100 % either."""
    low, high = wilson(accuracy, images)
    return (high - low) / 2


def difference(one: Measured, other: Measured) -> Measured:
    """By how much ``one`` is above ``other``; an error that is not known is left out of that of both."""
    known = [error for error in (one.error, other.error) if error is not None]
    return Measured(one.value - other.value, math.hypot(*known) if known else None)


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
