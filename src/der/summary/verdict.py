"""What a run comes to, beside references and other runs. In percent, differences in points."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

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

METRICS = ("average_top1", "last_top1", "forgetting")  # of metrics/summary.json
POINTS = {
    "average_top1": "average top-1",
    "last_top1": "last top-1",
    "average_top5": "average top-5",
    "last_top5": "last top-5",
    "average_nme_top1": "average NME",
    "forgetting": "forgetting",
}


class Verdict(NamedTuple):
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


def describe_changes(before: Mapping[str, Any], now: Summary) -> list[str]:
    """A line for every measure that changed: which, from, to, and by how many points; empty if none did.

    ``before`` is what an earlier revision wrote: what it does not have did not change.
    """
    steps, earlier = now["steps"], before.get("steps") or {}
    lines = []
    if earlier and len(earlier) != len(steps):
        lines.append(f"{len(steps)} step{'s' * (len(steps) > 1)} instead of {len(earlier)}")
    lines += _describe_classes(earlier, steps)
    for key, name in POINTS.items():
        if key in before and before[key] != now[key]:  # type: ignore[literal-required]
            lines.append(_move(name, before[key], now[key]))  # type: ignore[literal-required]
    lines += _describe_steps(earlier, steps)
    sizes = [int(one.get("mean_parameters", 0)) for one in (before, now)]
    if all(sizes) and sizes[0] != sizes[1]:
        lines.append(f"mean parameters from {sizes[0]:,} to {sizes[1]:,}")
    return lines


def _describe_classes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """The first step after which there are more or fewer classes: no accuracy there can be compared."""
    for step, one, own in _same_steps(before, now):
        if one["classes"] != own["classes"]:
            yield f"{own['classes']} instead of {one['classes']} classes after step {step}"
            return


def _same_steps(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[int, Any, Any]]:
    """Of every step that is in both its number, and its part of either: "1" of nine steps is "01" of ten."""
    own = {int(name): one for name, one in now.items()}
    return ((int(name), one, own[int(name)]) for name, one in before.items() if int(name) in own)


def _describe_steps(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """How many steps have another accuracy, and which of them changed most."""
    pairs = {
        step: (one["top1"], own["top1"])
        for step, one, own in _same_steps(before, now)
        if one["classes"] == own["classes"]
    }
    changed = {step: pair for step, pair in pairs.items() if pair[0] != pair[1]}
    if changed:
        most = max(changed, key=lambda step: abs(changed[step][1] - changed[step][0]))
        words = f"top-1 at {len(changed)} of {len(now)} steps, most"
        yield _move(
            f"{words} at step {most}" if len(changed) > 1 else f"top-1 after step {most}", *changed[most]
        )


def _move(name: str, before: float | None, now: float | None) -> str:
    if before is None or now is None:
        old, new = ("none" if value is None else f"{value:.2f}" for value in (before, now))
        return f"{name} from {old} to {new}"
    digits = 2 if f"{before:.2f}" != f"{now:.2f}" else 4
    return f"{name} from {before:.{digits}f} to {now:.{digits}f}, {now - before:+.{digits}f} points"


class SweepRun(NamedTuple):
    """One finished run."""

    setting: dict[str, Any]  # parameters that tell settings apart; the same keys for all runs
    repetition: dict[str, Any]  # parameters that tell runs of one setting apart
    metrics: dict[str, float | None]  # by METRICS; None where a measure does not exist


class Spread(NamedTuple):
    """A measure over the runs of a setting; None where it does not exist."""

    mean: float | None
    deviation: float | None  # sample standard deviation; None for one run


class Row(NamedTuple):
    """One setting."""

    setting: dict[str, Any]
    runs: int
    metrics: dict[str, Spread]  # by METRICS


def summarise_runs(runs: Sequence[SweepRun]) -> list[Row]:
    """A row for every setting, sorted by its values. A run that was made twice counts once."""
    distinct = {json.dumps(run, sort_keys=True): run for run in runs}
    groups: dict[str, list[SweepRun]] = {}
    for run in distinct.values():
        groups.setdefault(json.dumps(run.setting, sort_keys=True), []).append(run)
    rows = [
        Row(
            group[0].setting,
            len(group),
            {name: spread([run.metrics[name] for run in group]) for name in METRICS},
        )
        for group in groups.values()
    ]
    return sorted(rows, key=lambda row: [_rank(value) for value in row.setting.values()])


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and sample standard deviation; none of either if a value is missing."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return Spread(None, None)
    return Spread(statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None)


def _rank(value: Any) -> tuple[bool, float, str]:
    """Numbers by value, before all else by its text."""
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0, json.dumps(value)
