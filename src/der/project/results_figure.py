"""The README's figure of a preset's runs."""

from pathlib import Path

import numpy as np

from der.project.records import Record
from der.summary.charts.accuracy import Curve
from der.summary.charts.colours import ACCURACIES
from der.summary.drawing.canvas import drawing

PUBLISHED_LINES = (("old", "--", "s"), ("new", ":", "^"))  # colour of the palette, dashes, marker


def draw_results(name: str, records: list[Record], published: list[Curve], path: Path) -> None:
    """Draw top-1 over the classes seen: the mean over ``records``, runs of preset ``name``, and each run.

    Beside ``published``, at most two. A PNG file, byte-identical for equal input.
    """
    steps = [list(record["metrics"]["steps"].values()) for record in records]
    classes = [step["classes"] for step in steps[0]]
    top1 = np.array([[step["top1"] for step in run] for run in steps])  # (runs, steps)
    with drawing(path, 8.5, 4.5) as figure:
        axes = figure.add_subplot()
        if len(records) > 1:
            axes.plot(classes, top1.T, color=ACCURACIES["top1"], linewidth=0.75, alpha=0.5)
        runs = "1 run" if len(records) == 1 else f"mean of {len(records)} runs"
        axes.plot(
            classes,
            top1.mean(axis=0),
            label=f"{name}, measured\n({runs})",
            color=ACCURACIES["top1"],
            linewidth=2.5,
            marker="o",
        )
        for curve, (colour, dashes, marker) in zip(published, PUBLISHED_LINES, strict=False):
            axes.plot(
                curve.classes,
                curve.top1,
                label=f"{curve.name}, published" + ("" if curve.name == name else "\n(the paper's nearest)"),
                color=ACCURACIES[colour],
                linestyle=dashes,
                linewidth=1.5,
                marker=marker,
                markerfacecolor="none",
            )
        axes.grid(visible=True)
        axes.set_xlim(left=0)
        axes.set_xlabel("classes seen")
        axes.set_ylabel("test top-1 over all classes seen (%)")
        axes.set_title(f"Preset {name}: measured and published")
        figure.legend(loc="outside right upper")
