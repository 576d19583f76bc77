"""The numbers that sum a run up, and what they are compared to; in percent, differences in points."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from der.summary.series import StepSummary, Summary, average
from der.summary.uncertainty import (
    Measured,
    difference,
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
    steps: int | None = None  # the first ones, of which alone it is; None: all


def judge(summary: Summary, matrix: NDArray[np.float64] | None = None) -> Verdict:
    """The verdict on a run; errors are None for a summary that does not count its images.

    ``matrix`` is the run's ``accuracy_matrix``; see ``forgetting_error``.
    """
    lost = summary["forgetting"]
    return Verdict(
        *average_and_last(list(summary["steps"].values())),
        None if lost is None else Measured(lost, forgetting_error(summary, matrix)),
    )


def average_and_last(rows: Sequence[StepSummary]) -> tuple[Measured, Measured]:
    """Top-1 on average over steps, and after the last of them."""
    errors = [row_error(row) for row in rows]
    known = [error for error in errors if error is not None]
    mean = average([row["top1"] for row in rows])
    shared = error_of_shared_mean(known) if len(known) == len(rows) else None
    return Measured(mean, shared), Measured(rows[-1]["top1"], errors[-1])


def row_error(row: StepSummary) -> float | None:
    """Of a step's top-1; None in an older summary, which does not count its images."""
    return sampling_error(row["top1"], row["test_images"]) if "test_images" in row else None


def forgetting_error(summary: Summary, matrix: NDArray[np.float64] | None) -> float | None:
    """Of average forgetting: every earlier step's classes have their own images, before and after the same.

    Without a matrix, which a summary does not hold, means over all these classes stand for each step's.
    """
    rows, lost = list(summary["steps"].values()), summary["forgetting"]
    after = rows[-1]["old"]
    if lost is None or after is None or not all("test_images" in row for row in rows):
        return None
    images = [end - start for start, end in pairwise([0, *(row["test_images"] for row in rows[:-1])])]
    if matrix is None:
        best, last = np.full(len(images), min(max(after + lost, 0.0), 100.0)), np.full(len(images), after)
    else:
        best, last = np.nanmax(matrix[:-1, :-1], axis=0), matrix[-1, :-1]
    return error_of_separate_mean(
        [
            error_of_difference(sampling_error(before, count), sampling_error(now, count))
            for before, now, count in zip(best.tolist(), last.tolist(), images, strict=True)
        ]
    )


@dataclass(frozen=True)
class Comparison:
    """By how much a run is above a reference."""

    reference: Reference
    average: Measured
    last: Measured


def compare(summary: Summary, reference: Reference) -> Comparison:
    """The run beside a reference, over the steps of that."""
    mean, last = average_and_last(list(summary["steps"].values())[: reference.steps])
    return Comparison(
        reference,
        difference(mean, Measured(reference.average, reference.average_error)),
        difference(last, Measured(reference.last, reference.last_error)),
    )


def chance(sizes: Sequence[int]) -> Reference:
    """Guessing among the classes seen after each step."""
    shares = [100 / size for size in sizes]
    return Reference("chance", "guessing among all classes seen", sum(shares) / len(shares), shares[-1])


def earlier(name: str, source: str, summary: Summary, steps: int | None = None) -> Reference:
    """Another run's summary, or its first ``steps``, as something to compare to."""
    mean, last = average_and_last(list(summary["steps"].values())[:steps])
    return Reference(
        name, source, mean.value, last.value, mean.error, last.error, is_earlier=True, steps=steps
    )
