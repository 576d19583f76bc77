"""Test accuracy against the number of classes seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from der.summary.charts.colours import ACCURACIES, PUBLISHED
from der.summary.charts.description import Axis, Line, LineChart, Marker, Panel
from der.summary.charts.limits import MOST_LISTED, MOST_MARKED
from der.summary.series import StepSummary, Summary

Measure = Literal["top1", "top5", "old", "new", "nme_top1"]


@dataclass(frozen=True)
class Curve:
    """Published top-1 accuracies of a protocol."""

    name: str  # what was run, in a few words
    source: str  # where it was published, in full
    classes: list[int]  # seen after each step
    top1: list[float]  # in percent


@dataclass(frozen=True)
class Style:
    """How a measure is told from the others."""

    name: str
    dashes: tuple[float, ...]
    marker: Marker
    width: float = 1.5


# Markers are hollow and of several sizes, since values often coincide.
MEASURES: dict[Measure, Style] = {
    "top1": Style("top-1", (), Marker("circle", 5, filled=True), width=2.5),
    "top5": Style("top-5", (4, 2), Marker("triangle-up", 9)),
    "old": Style("top-1, old classes", (4, 1, 1, 1, 1, 1), Marker("triangle-down", 6)),
    "new": Style("top-1, new classes", (1, 2), Marker("diamond", 9)),
    "nme_top1": Style("top-1, nearest mean of exemplars", (6, 2, 1, 2), Marker("square", 7)),
}
PUBLISHED_DASHES = (8, 3)
PUBLISHED_MARKER = Marker("cross", 7)


def accuracy_chart(summary: Summary, published: Sequence[Curve] = ()) -> LineChart:
    """Accuracies by the number of classes seen, in percent, and the published top-1 of the same protocol."""
    steps = list(summary["steps"].values())
    measured = [_measured(measure, steps) for measure in MEASURES]
    lines = [line for line in measured if any(value is not None for value in line.y)]
    lines += [published_line(curve, index) for index, curve in enumerate(published)]
    classes = tuple(float(step["classes"]) for step in steps)
    average, last = summary["average_top1"], summary["last_top1"]
    return LineChart(
        name="accuracy",
        title=f"Average incremental accuracy {average:.2f} %, last {last:.2f} %",
        axis=Axis("classes seen", whole=True, ticks=classes if len(classes) <= MOST_LISTED else None),
        panels=(Panel(percent_axis("test accuracy", lines), tuple(lines)),),
    )


def _measured(measure: Measure, steps: Sequence[StepSummary]) -> Line:
    style = MEASURES[measure]
    return Line(
        style.name,
        tuple(float(step["classes"]) for step in steps),
        tuple(step[measure] for step in steps),
        ACCURACIES[measure],
        style.width,
        style.dashes,
        style.marker if len(steps) <= MOST_MARKED else None,
    )


def published_line(curve: Curve, index: int) -> Line:
    """The line of a published curve; those of one figure are told apart by ``index``."""
    return Line(
        f"published: {curve.name}",
        tuple(map(float, curve.classes)),
        tuple(curve.top1),
        PUBLISHED[index % len(PUBLISHED)],
        dashes=PUBLISHED_DASHES,
        marker=PUBLISHED_MARKER if len(curve.top1) <= MOST_MARKED else None,
    )


def percent_axis(title: str, lines: Sequence[Line]) -> Axis:
    """From the multiple of ten below the lowest accuracy, with a point of room for its marker, to 100 %."""
    lowest = min(value for line in lines for value in line.y if value is not None)
    floor = max(0.0, 10.0 * math.floor((lowest - 1) / 10))
    return Axis(title, "%", low=floor, high=100 + 0.03 * (100 - floor))
