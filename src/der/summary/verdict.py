"""Compares a run with references and other runs, and estimates the errors of its numbers.

Accuracies are in percent, differences in points, errors half-widths of 95 % intervals.

# B test images
"""

import json
import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from der.summary.series import StepSummary, Summary, average

NORMAL = 1.959963984540054  # 97.5 % quantile of the normal distribution
BINS = 15  # of equal width, as Guo et al. have them


class Measured(NamedTuple):
    """A number and its error, None if the error is unknown."""

    value: float
    error: float | None = None


def wilson(accuracy: float, images: int) -> tuple[float, float]:
    """Compute Wilson's 95 % interval (1927) of an accuracy on so many independent test images, in percent."""
    share, z2 = accuracy / 100, NORMAL**2
    centre = (share + z2 / (2 * images)) / (1 + z2 / images)
    spread = NORMAL / (1 + z2 / images) * math.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
    return 100 * max(centre - spread, 0.0), 100 * min(centre + spread, 1.0)


def sampling_error(accuracy: float, images: int) -> float:
    """Return half of ``wilson``'s interval, which is not zero even at 0 or 100 %."""
    low, high = wilson(accuracy, images)
    return (high - low) / 2


def difference(one: Measured, other: Measured) -> Measured:
    """Subtract ``other`` from ``one``; the error combines the errors that are known."""
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
    """Make the nonempty bins by confidence (Guo et al., ICML 2017, section 2)."""
    confidence = confidence_B.astype(np.float64)
    places_B = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = []
    for place in np.unique(places_B).tolist():
        inside = places_B == place
        mean, hits = 100 * float(confidence[inside].mean()), 100 * float(right_B[inside].mean())
        bins.append(Bin(100 * place / BINS, 100 * (place + 1) / BINS, int(inside.sum()), mean, hits))
    return bins


def expected_calibration_error(bins: list[Bin]) -> Measured:
    """Compute the ECE in points: the mean over images of their bin's gap between accuracy and confidence."""
    images = sum(one.images for one in bins)
    gaps = [one.images * abs(one.accuracy - one.confidence) for one in bins]
    errors = [one.images * sampling_error(one.accuracy, one.images) for one in bins]
    return Measured(sum(gaps) / images, math.hypot(*errors) / images)


def least_calibration_error(bins: list[Bin]) -> float:
    """Compute the mean ECE of a perfectly calibrated network, with these images in these bins.

    It comes from sampling: the mean absolute value of a normal deviate is sqrt(2 / pi) standard deviations.
    """
    images = sum(one.images for one in bins)
    deviations = [math.sqrt(one.images * one.confidence * (100 - one.confidence)) for one in bins]
    return math.sqrt(2 / math.pi) * sum(deviations) / images


# Of metrics/summary.json.
METRICS = {"average_top1": "average top-1", "last_top1": "last top-1", "forgetting": "forgetting"}


class Verdict(NamedTuple):
    """The results of a run with their errors."""

    average: Measured  # incremental accuracy
    last: Measured
    forgetting: Measured | None  # None at one step


class Reference(NamedTuple):
    """A reference for a comparison."""

    name: str
    source: str  # in full
    average: Measured
    last: Measured
    is_earlier: bool = False  # an earlier run of the same project
    steps: int | None = None  # the first ones, of which alone it is; None: all


def judge(summary: Summary, matrix: NDArray[np.float64] | None = None) -> Verdict:
    """Judge a run; ``matrix`` is its ``accuracy_matrix``, see ``forgetting_error``."""
    lost = summary["forgetting"]
    return Verdict(
        *average_and_last(list(summary["steps"].values())),
        None if lost is None else Measured(lost, forgetting_error(summary, matrix)),
    )


def average_and_last(rows: Sequence[StepSummary]) -> tuple[Measured, Measured]:
    """Return top-1 on average over steps, and after the last step.

    Steps share images: the error of their mean is at most the mean of their errors.
    """
    steps = [Measured(row["top1"], sampling_error(row["top1"], row["test_images"])) for row in rows]
    mean = average([one.value for one in steps])
    return Measured(mean, statistics.mean(one.error or 0.0 for one in steps)), steps[-1]


def forgetting_error(summary: Summary, matrix: NDArray[np.float64] | None) -> float:
    """Estimate the error of average forgetting; each earlier step's classes have their own images.

    Without a matrix, which a summary does not hold, it uses means over all these classes.
    """
    rows = list(summary["steps"].values())
    after, lost = rows[-1]["old"] or 0.0, summary["forgetting"] or 0.0
    images = [end - start for start, end in pairwise([0, *(row["test_images"] for row in rows[:-1])])]
    if matrix is None:
        best, last = np.full(len(images), min(max(after + lost, 0.0), 100.0)), np.full(len(images), after)
    else:
        best, last = np.nanmax(matrix[:-1, :-1], axis=0), matrix[-1, :-1]
    pairs = zip([*best.tolist(), *last.tolist()], [*images, *images], strict=True)
    return math.hypot(*(sampling_error(accuracy, count) for accuracy, count in pairs)) / len(images)


def compare(summary: Summary, reference: Reference) -> tuple[Measured, Measured]:
    """Subtract a reference from a run over the reference's steps: on average, and at the end."""
    mean, last = average_and_last(list(summary["steps"].values())[: reference.steps])
    return difference(mean, reference.average), difference(last, reference.last)


def baselines(
    images: Sequence[NDArray[np.int64]], nearest: Sequence[float], frozen: Sequence[float] = ()
) -> list[Reference]:
    """Return accuracies of simpler ways, on so many test ``images`` (K,) of each class by step.

    They are those of guessing, of naming the largest class where sizes differ, and top-1 by the ``nearest``
    mean of exemplars, and by ``frozen_top1`` of the metrics if all steps have it.
    """
    found = {
        "chance": ("guessing among all classes seen", [100 / len(counts) for counts in images]),
        "largest class": ("always the class of the most images", [100 * c.max() / c.sum() for c in images]),
        "nearest mean": ("of the exemplars' features in the same network", nearest),
        "frozen": ("logistic regression on the exemplars, with the first extractor alone", frozen),
    }
    if all(counts.min() == counts.max() for counts in images):
        del found["largest class"]
    if len(frozen) < len(images):
        del found["frozen"]
    return [
        Reference(name, source, Measured(statistics.fmean(shares)), Measured(float(shares[-1])))
        for name, (source, shares) in found.items()
    ]


def earlier(name: str, source: str, summary: Summary, steps: int | None = None) -> Reference:
    """Make a reference of another run's summary, or of its first ``steps``."""
    measured = average_and_last(list(summary["steps"].values())[:steps])
    return Reference(name, source, *measured, is_earlier=True, steps=steps)


class SweepRun(NamedTuple):
    setting: dict[str, Any]  # parameters that tell settings apart; the same keys for all runs
    repetition: dict[str, Any]  # parameters that tell runs of one setting apart
    metrics: dict[str, float | None]  # by METRICS; None where a measure does not exist


class Spread(NamedTuple):
    """A measure over the runs of a setting; None if it does not exist."""

    mean: float | None
    deviation: float | None  # sample standard deviation; None for one run


class Row(NamedTuple):
    setting: dict[str, Any]
    runs: int
    metrics: dict[str, Spread]  # by METRICS


def summarise_runs(runs: Sequence[SweepRun]) -> list[Row]:
    """Make a row for every setting, sorted by its values. A repeated run counts once."""
    distinct = {json.dumps(run, sort_keys=True): run for run in runs}
    groups: dict[str, list[SweepRun]] = {}
    for run in distinct.values():
        groups.setdefault(json.dumps(run.setting, sort_keys=True), []).append(run)
    rows = []
    for group in groups.values():
        metrics = {name: spread([run.metrics[name] for run in group]) for name in METRICS}
        rows.append(Row(group[0].setting, len(group), metrics))
    return sorted(rows, key=lambda row: [_rank(value) for value in row.setting.values()])


def spread(values: Sequence[float | None]) -> Spread:
    """Compute mean and sample standard deviation; both None if a value is missing."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return Spread(None, None)
    return Spread(statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None)


def _rank(value: Any) -> tuple[bool, float, str]:
    return (False, value, "") if isinstance(value, int | float) else (True, 0, json.dumps(value))
