"""How far a measured accuracy may be from the one that all images there are would give.

Errors are half-widths of 95 % intervals, in points; accuracies are in percent.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

NORMAL = 1.959963984540054  # 97.5 % quantile of the normal distribution


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


def error_of_shared_mean(errors: Sequence[float]) -> float:
    """Of the mean of accuracies on images that they share, as those of several steps: at most this."""
    return sum(errors) / len(errors)


def error_of_separate_mean(errors: Sequence[float]) -> float:
    """Of the mean of accuracies on images that none shares with another."""
    return math.hypot(*errors) / len(errors)


def error_of_difference(first: float, second: float) -> float:
    """Of a difference, as if of independent images; two networks on the same images differ by less."""
    return math.hypot(first, second)


def difference(one: Measured, other: Measured) -> Measured:
    """By how much ``one`` is above ``other``; an error that is not known is left out of that of both."""
    known = [error for error in (one.error, other.error) if error is not None]
    return Measured(one.value - other.value, math.hypot(*known) if known else None)
