"""Several finished runs on one page: curves over each other, differences with their errors, parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from der.core.files import atomic_file
from der.report.figures.drawn import line_figure
from der.report.write import CHARTS, fill
from der.summary.charts.comparison import comparison_chart
from der.summary.series import Summary
from der.summary.uncertainty import Measured, difference
from der.summary.verdict import judge, row_error

MEASURES = ("average", "at the end", "forgetting")
Entry = Measured | None  # None where a measure does not exist


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
    measures: list[tuple[Entry, Entry]]  # each with its difference to the first run's
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
        "same_steps": len({_classes(run.summary) for run in runs}) == 1,
        "steps": steps_side_by_side([run.summary for run in runs]),
        "data": {figure.name: figure.data},
        "measured": {},
    }
    return fill("comparison.html", values, CHARTS)


def _classes(summary: Summary) -> tuple[int, ...]:
    """Seen after each step."""
    return tuple(row["classes"] for row in summary["steps"].values())


def measure(summary: Summary) -> list[Entry]:
    """The MEASURES of a run."""
    verdict = judge(summary)
    return [verdict.average, verdict.last, verdict.forgetting]


def _row(run: ComparedRun, own: list[Entry], first_run: list[Entry], *, first: bool) -> Row:
    measures = [
        (one, None if first or one is None or other is None else difference(one, other))
        for one, other in zip(own, first_run, strict=True)
    ]
    return Row(run, measures, list(run.summary["steps"].values())[-1]["parameters"])


def steps_side_by_side(summaries: Sequence[Summary]) -> dict[int, list[Entry]]:
    """Top-1 of every run by the number of classes seen, None where a run did not stop there."""
    by_classes = [{row["classes"]: row for row in summary["steps"].values()} for summary in summaries]
    counts = sorted({classes for rows in by_classes for classes in rows})
    return {
        classes: [
            Measured(rows[classes]["top1"], row_error(rows[classes])) if classes in rows else None
            for rows in by_classes
        ]
        for classes in counts
    }
