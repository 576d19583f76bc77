"""The plots that are lines. Each function draws one PNG file, byte-identical for equal input."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from der.summary.palette import COLOURS
from der.summary.style import drawing

# Column of the accuracy table: legend, dashes, marker and its size in points. Markers are hollow and of
# several sizes, since values often coincide.
ACCURACIES = {
    "top5": ("top-5", "--", "^", 9),
    "new": ("top-1, new classes", ":", "D", 9),
    "top1": ("top-1", "-", "o", 5),
    "nme_top1": ("top-1, nearest mean\nof exemplars", "-.", "s", 7),
    "old": ("top-1, old classes", (0, (4, 1, 1, 1, 1, 1)), "v", 6),
}
MOST_MARKS = 20  # points of a line that are marked
MOST_ENTRIES = 12  # ticks for single steps, and lines of a legend


def draw_accuracy(table: pd.DataFrame, path: Path) -> None:
    """Draw the accuracies of ``series.accuracy_table`` against the number of classes seen."""
    with drawing(path, 8.5, 5) as figure:
        axes = figure.add_subplot()
        for column, (label, dashes, marker, size) in ACCURACIES.items():
            if table[column].notna().any():
                main, colour = column == "top1", COLOURS[column]
                axes.plot(
                    table["classes"],
                    table[column],
                    label=label,
                    color=colour,
                    linestyle=dashes,
                    linewidth=2.5 if main else 1.5,
                    marker=marker if len(table) <= MOST_MARKS else "",
                    markersize=size,
                    markerfacecolor=colour if main else "none",
                )
        lowest = table[list(ACCURACIES)].min().min()
        floor = max(0, 10 * np.floor((lowest - 1) / 10))
        axes.set_ylim(floor, 100 + 0.03 * (100 - floor))
        if len(table) <= MOST_ENTRIES:
            axes.set_xticks(table["classes"])
        axes.grid(visible=True)
        axes.set_xlabel("classes seen")
        axes.set_ylabel("test accuracy (%)")
        mean, last = table["top1"].mean(), table["top1"].iloc[-1]
        axes.set_title(f"Average incremental accuracy {mean:.2f} %, last {last:.2f} %")
        figure.legend(loc="outside right upper")


def draw_training(log: pd.DataFrame, path: Path) -> None:
    """Draw loss and training accuracy against the epoch, a line for each step.

    ``log`` has the columns step, epoch, loss and accuracy (percent).
    """
    steps = int(log["step"].max())
    colours = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.85, steps)))
    with drawing(path, 8.5, 7) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for step in range(1, steps + 1):
            rows = log[log["step"] == step]
            for axes, column in zip(panels, ("loss", "accuracy"), strict=True):
                axes.plot(
                    rows["epoch"],
                    rows[column],
                    label=f"step {step}" if column == "loss" else None,
                    color=colours(step - 1),
                    linewidth=1.5,
                    marker="o" if len(rows) <= MOST_MARKS else "",
                    markersize=4,
                )
        for axes in panels:
            axes.grid(visible=True)
        panels[0].set_ylabel("mean loss per image")
        panels[1].set_ylabel("training top-1 (%)")
        panels[1].set_ylim(top=100.8)
        panels[1].set_xlabel("epoch")
        panels[1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        panels[0].set_title("Training of each step")
        if log["loss"].min() > 0 and log["loss"].max() > 10 * log["loss"].min():
            _use_decades(panels[0])
        if steps <= MOST_ENTRIES:
            figure.legend(loc="outside right upper")
        else:
            scale = ScalarMappable(Normalize(0.5, steps + 0.5), colours)
            figure.colorbar(scale, ax=panels, label="step", fraction=0.04)


def _use_decades(axes: Axes) -> None:
    """A logarithmic axis with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
