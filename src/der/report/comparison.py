"""Several finished runs on one page: curves over each other, differences with their errors, parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from der.report import charts
from der.report.page import figure, fill, write_page
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
    write_page(render_comparison(runs), path)


def render_comparison(runs: Sequence[ComparedRun]) -> str:
    """The page as HTML; differences are to the first run."""
    chart = charts.comparison_chart([(run.name, run.summary) for run in runs])
    drawn = figure("comparison", chart, lambda classes: f"{classes:g} classes", charts.PAGE)
    classes = {tuple(row["classes"] for row in run.summary["steps"].values()) for run in runs}
    values = {
        "runs": runs,
        "figure": drawn,
        "measures": MEASURES,
        "rows": [compare_to(runs[0], run) for run in runs],
        "parameters": {key: [run.differing[key] for run in runs] for key in runs[0].differing},
        "same_steps": len(classes) == 1,
        "steps": steps_side_by_side([run.summary for run in runs]),
        "measured": {},
        "data": {drawn.name: drawn.data},
    }
    return fill("comparison.html", values, ("charts.js",))


def measure(summary: Summary) -> list[Entry]:
    """The MEASURES of a run."""
    verdict = judge(summary)
    return [verdict.average, verdict.last, verdict.forgetting]


def compare_to(first: ComparedRun, run: ComparedRun) -> Row:
    """A run's MEASURES, with their differences to those of the first run; that has none to itself."""
    own, others = measure(run.summary), measure(first.summary)
    measures = [
        (one, None if run is first or one is None or other is None else difference(one, other))
        for one, other in zip(own, others, strict=True)
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
