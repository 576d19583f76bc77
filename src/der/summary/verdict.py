"""The numbers that sum a run up, and what they are compared to; in percent, differences in points.

# K classes seen after the last step
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from der.evaluation.metrics import StepMetrics
from der.summary.series import Summary, accuracy_matrix
from der.summary.uncertainty import (
    Measured,
    error_of_difference,
    error_of_separate_mean,
    error_of_shared_mean,
    sampling_error,
)


@dataclass(frozen=True)
class Verdict:
    """What a run comes to."""

    average: Measured  # incremental accuracy
    last: Measured
    forgetting: Measured | None  # None at one step


@dataclass(frozen=True)
class Reference:
    """Something that a run is compared to; None where a number is not known."""

    name: str
    source: str  # in full
    average: float
    last: float
    average_error: float | None = None
    last_error: float | None = None
    is_earlier: bool = False  # an earlier run of the same project


def judge(summary: Summary, steps: Sequence[StepMetrics], images_K: NDArray[np.int64]) -> Verdict:
    """The verdict on a run; ``images_K`` are the test images of each class."""
    errors = [sampling_error(step["top1"], step["test_images"]) for step in steps]
    lost = summary["forgetting"]
    return Verdict(
        Measured(summary["average_top1"], error_of_shared_mean(errors)),
        Measured(summary["last_top1"], errors[-1]),
        None if lost is None else Measured(lost, forgetting_error(steps, images_K)),
    )


def forgetting_error(steps: Sequence[StepMetrics], images_K: NDArray[np.int64]) -> float:
    """Of average forgetting: every step's classes have images of their own, before and after the same."""
    matrix = accuracy_matrix(list(steps))
    ends = [step["classes"] for step in steps]
    errors = []
    for index, (start, end) in enumerate(zip([0, *ends[:-2]], ends[:-1], strict=True)):
        images = int(images_K[start:end].sum())
        best, last = float(np.nanmax(matrix[:-1, index])), float(matrix[-1, index])
        errors.append(error_of_difference(sampling_error(best, images), sampling_error(last, images)))
    return error_of_separate_mean(errors)


@dataclass(frozen=True)
class Comparison:
    """By how much a run is above a reference."""

    reference: Reference
    average: Measured
    last: Measured


def compare(verdict: Verdict, reference: Reference) -> Comparison:
    """The run beside a reference; what is not known of that one's errors is left out of the differences'."""
    return Comparison(
        reference,
        _difference(verdict.average, reference.average, reference.average_error),
        _difference(verdict.last, reference.last, reference.last_error),
    )


def _difference(own: Measured, other: float, other_error: float | None) -> Measured:
    return Measured(own.value - other, error_of_difference(own.error, other_error or 0.0))


def chance(sizes: Sequence[int]) -> Reference:
    """Guessing among the classes seen after each step."""
    shares = [100 / size for size in sizes]
    return Reference("chance", "guessing among all classes seen", sum(shares) / len(shares), shares[-1])


def earlier(name: str, source: str, summary: Summary) -> Reference:
    """Another run's summary as something to compare to; without errors if it does not count its images."""
    rows = list(summary["steps"].values())
    counted = all("test_images" in row for row in rows)
    errors = [sampling_error(row["top1"], row["test_images"]) for row in rows] if counted else []
    return Reference(
        name,
        source,
        summary["average_top1"],
        summary["last_top1"],
        error_of_shared_mean(errors) if counted else None,
        errors[-1] if counted else None,
        is_earlier=True,
    )
