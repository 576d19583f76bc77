"""Many runs in few rows: means and deviations over the repetitions of each setting."""

import json
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

METRICS = ("average_top1", "last_top1", "forgetting")  # of metrics/summary.json


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
    return Spread(mean(numbers), stdev(numbers) if len(numbers) > 1 else None)


def _rank(value: Any) -> tuple[bool, float, str]:
    """Numbers by value, before all else by its text."""
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0, json.dumps(value)
