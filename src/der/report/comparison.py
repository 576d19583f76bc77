"""Several finished runs on one page: curves over each other, differences with their errors, parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from der.common.atomic import atomic_file
from der.report.figures.drawn import line_figure
from der.report.write import CHARTS, fill
from der.summary.charts.comparison import comparison_chart
from der.summary.series import StepSummary, Summary
from der.summary.uncertainty import (
    Measured,
    error_of_difference,
    error_of_shared_mean,
    sampling_error,
)

MEASURES = ("average", "at the end", "forgetting")
Entry = tuple[float | None, float | None]  # a measure and its error, None where it is not known


@dataclass(frozen=True)
class ComparedRun:
    """A finished run, as git has it."""

    name: str  # as it was asked for
    revision: str  # of the commit, short
    summary: Summary
    differing: dict[str, str]  # values of the parameters in which the runs differ, as text, by dotted path


@dataclass(frozen=True)
class Row:
    """A run in the table of differences."""

    run: ComparedRun
    measures: list[
        tuple[float | None, float | None, Measured | None]
    ]  # value, error, difference to the first
    parameters: int


def write_comparison(runs: Sequence[ComparedRun], path: Path) -> None:
    """Write the page; the same runs give the same bytes."""
    page = render_comparison(runs)
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def render_comparison(runs: Sequence[ComparedRun]) -> str:
    """The page as HTML; differences are to the first run."""
    chart = comparison_chart([(run.name, run.summary) for run in runs])
    figure = line_figure(chart, lambda classes: f"{classes:g} classes", wide=340, narrow=250)
    measures = [measure(run.summary) for run in runs]
    values: dict[str, Any] = {
        "runs": runs,
        "figure": figure,
        "measures": MEASURES,
        "rows": [
            _row(run, own, measures[0], first=run is runs[0]) for run, own in zip(runs, measures, strict=True)
        ],
        "parameters": {key: [run.differing[key] for run in runs] for key in runs[0].differing},
        "steps": steps_side_by_side([run.summary for run in runs]),
        "data": {figure.name: figure.data},
        "measured": {},
    }
    return fill("comparison.html", values, CHARTS)


def measure(summary: Summary) -> list[Entry]:
    """The MEASURES of a run with their errors, which older summaries do not tell."""
    rows = list(summary["steps"].values())
    errors = [_error(row) for row in rows]
    known = [error for error in errors if error is not None]
    shared = error_of_shared_mean(known) if len(known) == len(rows) else None
    return [
        (summary["average_top1"], shared),
        (summary["last_top1"], errors[-1]),
        (summary["forgetting"], forgetting_error(summary)),
    ]


def _error(row: StepSummary) -> float | None:
    return sampling_error(row["top1"], row["test_images"]) if "test_images" in row else None


def forgetting_error(summary: Summary) -> float | None:
    """Of average forgetting, as the difference of two accuracies on the images of all old classes.

    These are the test images of the step before the last. Exact for steps of equally many images.
    """
    rows, lost = list(summary["steps"].values()), summary["forgetting"]
    if lost is None or rows[-1]["old"] is None or "test_images" not in rows[-2]:
        return None
    after, images = rows[-1]["old"], rows[-2]["test_images"]
    before = min(max(after + lost, 0.0), 100.0)
    return error_of_difference(sampling_error(before, images), sampling_error(after, images))


def _row(run: ComparedRun, own: list[Entry], first_run: list[Entry], *, first: bool) -> Row:
    differences = [None if first else _difference(*pair) for pair in zip(own, first_run, strict=True)]
    measures = [(*entry, difference) for entry, difference in zip(own, differences, strict=True)]
    return Row(run, measures, list(run.summary["steps"].values())[-1]["parameters"])


def _difference(own: Entry, other: Entry) -> Measured | None:
    if own[0] is None or other[0] is None:
        return None
    return Measured(own[0] - other[0], error_of_difference(own[1] or 0.0, other[1] or 0.0))


def steps_side_by_side(summaries: Sequence[Summary]) -> dict[int, list[Entry]]:
    """Top-1 and its error of every run by the number of classes seen, None where a run did not stop there."""
    by_classes = [{row["classes"]: row for row in summary["steps"].values()} for summary in summaries]
    counts = sorted({classes for rows in by_classes for classes in rows})
    return {
        classes: [
            (rows[classes]["top1"], _error(rows[classes])) if classes in rows else (None, None)
            for rows in by_classes
        ]
        for classes in counts
    }
