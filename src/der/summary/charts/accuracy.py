"""Test accuracy against the number of classes seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from der.summary.charts.colours import ACCURACIES, JOINT, PUBLISHED
from der.summary.charts.description import Axis, Line, LineChart, Marker, Panel
from der.summary.charts.limits import MOST_LISTED, MOST_MARKED
from der.summary.series import StepSummary, Summary
from der.summary.uncertainty import wilson

Measure = Literal["top1", "old", "new", "nme_top1"]

LEAST_SPAN = 20.0  # points of an axis of accuracies: no single image looks like a collapse on it
SMALL = 3.0  # the most that the markers of many points measure


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
    "top1": Style("this run", (), Marker("circle", 6, filled=True), width=2.5),
    "old": Style("old classes", (), Marker("circle", 5, filled=True), width=2.0),
    "new": Style("new classes", (1, 2), Marker("diamond", 7)),
    "nme_top1": Style("this run, by nearest mean of exemplars", (2, 1.5), Marker("square", 5)),
}
PUBLISHED_DASHES = (6, 3)
PUBLISHED_MARKER = Marker("cross", 6)
JOINT_MARKER = Marker("triangle-down", 10, filled=True)


def accuracy_chart(
    summary: Summary, published: Sequence[Curve] = (), joint: float | None = None
) -> LineChart:
    """Top-1 by the number of classes seen, in percent: measured, with its band, and published.

    ``joint`` is the accuracy of training on all classes at once, the upper bound after the last step.
    """
    steps = list(summary["steps"].values())
    lines = [with_band(measured_line("top1", steps), steps), measured_line("nme_top1", steps)]
    lines += [published_line(curve, index) for index, curve in enumerate(published)]
    classes = lines[0].x
    if joint is not None:
        name = f"joint training of all {classes[-1]:g} classes"
        lines.append(Line(name, classes[-1:], (joint,), JOINT, marker=JOINT_MARKER))
    average, last = summary["average_top1"], summary["last_top1"]
    return LineChart(
        name="accuracy",
        title=f"Average incremental accuracy {average:.2f} %, last {last:.2f} %",
        axis=Axis("classes seen", whole=True, ticks=classes if len(classes) <= MOST_LISTED else None),
        panels=(Panel(percent_axis("test top-1 over all classes seen", lines), tuple(lines)),),
    )


def measured_line(measure: Measure, steps: Sequence[StepSummary]) -> Line:
    """The line of a measure."""
    style = MEASURES[measure]
    return Line(
        style.name,
        tuple(float(step["classes"]) for step in steps),
        tuple(step[measure] for step in steps),
        ACCURACIES[measure],
        style.width,
        style.dashes,
        fitting(style.marker, len(steps)),
    )


def with_band(line: Line, steps: Sequence[StepSummary]) -> Line:
    """The line of top-1 with Wilson's 95 % interval around it."""
    intervals = [wilson(step["top1"], step["test_images"]) for step in steps]
    lows, highs = zip(*intervals, strict=True)
    return replace(line, band=(lows, highs))


def fitting(marker: Marker, points: int) -> Marker:
    """The marker, small if it stands at many points."""
    if points <= MOST_MARKED:
        return marker
    return Marker(marker.shape, min(marker.size, SMALL), marker.filled)


def published_line(curve: Curve, index: int) -> Line:
    """The line of a published curve; those of one figure are told apart by ``index``."""
    return Line(
        f"published: {curve.name}",
        tuple(map(float, curve.classes)),
        tuple(curve.top1),
        PUBLISHED[index % len(PUBLISHED)],
        dashes=PUBLISHED_DASHES,
        marker=fitting(PUBLISHED_MARKER, len(curve.top1)),
    )


def percent_axis(title: str, lines: Sequence[Line]) -> Axis:
    """To 100 %, from the multiple of ten below the lowest accuracy or band, with room for a marker."""
    values = [value for line in lines for value in (*line.y, *(line.band or ((),))[0]) if value is not None]
    floor = max(0.0, min(100 - LEAST_SPAN, 10.0 * math.floor((min(values) - 1) / 10)))
    return Axis(title, "%", low=floor, high=100 + 0.03 * (100 - floor))
