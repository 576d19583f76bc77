"""The figure of a preset's runs."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

from der.pipeline.records import Record
from der.summary.charts.accuracy import Curve, percent_axis, published_line
from der.summary.charts.blending import blend
from der.summary.charts.colours import ACCURACIES
from der.summary.charts.description import Axis, Line, LineChart, Marker, Panel

PALE = blend((ACCURACIES["top1"], "#FFFFFF"), 0.5)  # of single runs, beside their mean


def results_chart(name: str, records: Sequence[Record], published: Sequence[Curve]) -> LineChart:
    """Top-1 by classes seen of ``records``, runs of preset ``name``: mean, each run, and ``published``."""
    steps = [list(record["metrics"]["steps"].values()) for record in records]
    classes = tuple(float(step["classes"]) for step in steps[0])
    runs = [tuple(step["top1"] for step in run) for run in steps]
    title = f"{name}, measured ({'1 run' if len(runs) == 1 else f'mean of {len(runs)} runs'})"
    average = tuple(map(mean, zip(*runs, strict=True)))
    lines = [
        *(Line("", classes, run, PALE, width=0.75, in_legend=False) for run in runs if len(runs) > 1),
        Line(title, classes, average, ACCURACIES["top1"], width=2.5, marker=Marker("circle", 6, filled=True)),
    ]
    for index, curve in enumerate(published):
        note = "" if curve.name == name else " (the paper's nearest)"
        lines.append(published_line(replace(curve, name=curve.name + note), index))
    return LineChart(
        name="results",
        title=f"Preset {name}: measured" + (" and published" if published else ""),
        axis=Axis("classes seen", whole=True, low=0),
        panels=(Panel(percent_axis("test top-1 over all classes seen", lines), tuple(lines)),),
    )
