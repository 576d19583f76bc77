"""The figure of a preset's runs."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

from der.pipeline.records import Record
from der.report.charts import BLUE, PALE, SOLID, Chart, Line, over_classes, published_line
from der.summary.series import Curve


def results_chart(name: str, records: Sequence[Record], published: Sequence[Curve]) -> Chart:
    """Top-1 by classes seen of ``records``, runs of preset ``name``: mean, each run, and ``published``."""
    steps = [list(record["metrics"]["steps"].values()) for record in records]
    classes = [float(step["classes"]) for step in steps[0]]
    runs = [[step["top1"] for step in run] for run in steps]
    title = f"{name}, measured ({'1 run' if len(runs) == 1 else f'mean of {len(runs)} runs'})"
    average = list(map(mean, zip(*runs, strict=True)))
    lines = [
        *(Line("", classes, run, PALE, 0.75, named=False) for run in runs if len(runs) > 1),
        Line(title, classes, average, BLUE, 2.5, SOLID, "circle"),
    ]
    for index, curve in enumerate(published):
        note = "" if curve.name == name else " (the paper's nearest)"
        lines.append(published_line(replace(curve, name=curve.name + note), index))
    return over_classes(f"Preset {name}: measured" + (" and published" if published else ""), lines)
