"""Matrices as PNG files."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis as DrawnAxis
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from der.summary.charts.colours import GRID, MUTED
from der.summary.charts.description import Categories, MatrixChart
from der.summary.drawing.canvas import axis_names, drawing

CELL = 0.48  # inches
SMALLEST, LARGEST = 3.5, 10.0  # inches of a side
FONT_SIZES = (6.0, 10.0)  # points of names
LINE_HEIGHT = 1.15  # of a font's size
TITLE = 9  # characters of the title in an inch
LONG = 3  # characters of a name, from which those of columns are turned


def draw_matrix(chart: MatrixChart, path: Path) -> None:
    """Draw a PNG file, byte-identical for equal charts."""
    height, width = (_length(len(axis.names)) for axis in (chart.rows, chart.columns))
    with drawing(path, width + 3, height + 2) as figure:
        axes = figure.add_subplot()
        values = np.array(chart.places, dtype=np.float64)  # NaN for None
        shades = ListedColormap([shade.light.colour for shade in chart.shades])
        axes.imshow(values, cmap=shades, vmin=-0.5, vmax=len(chart.shades) - 0.5, interpolation="nearest")
        axes.spines[:].set(visible=True, color=GRID)
        _write_cells(axes, chart)
        _name_ticks(axes.xaxis, chart.columns, width)
        _name_ticks(axes.yaxis, chart.rows, height)
        if max(map(len, axis_names(chart.columns))) > LONG:
            axes.xaxis.set_tick_params(rotation=90)
        for edge in chart.rows.edges:
            axes.axhline(edge, color=MUTED, linewidth=0.5)
        for edge in chart.columns.edges:
            axes.axvline(edge, color=MUTED, linewidth=0.5)
        _write_title(figure, chart.title)
        patches = [Patch(color=chart.shades[place].light.colour, label=text) for text, place in chart.key]
        figure.legend(handles=patches, loc="outside right center")
        figure.draw_without_rendering()  # a second layout knows how much room a square matrix leaves


def _write_title(figure: Figure, title: str) -> None:
    """Above matrix and legend, for beside long names the matrix may be narrow."""
    lines = textwrap.wrap(title, int(TITLE * figure.get_figwidth()))
    figure.suptitle("\n".join(lines), x=0.01, ha="left")


def _length(count: int) -> float:
    """Inches of a side of ``count`` cells."""
    return min(max(CELL * count, SMALLEST), LARGEST)


def _write_cells(axes: Axes, chart: MatrixChart) -> None:
    for row, texts in enumerate(chart.texts or ()):
        for column, text in enumerate(texts):
            place = chart.places[row][column]
            if text and place is not None:
                colour = chart.shades[place].light.text
                axes.text(column, row, text, color=colour, fontsize=9, ha="center", va="center")


def _name_ticks(drawn: DrawnAxis, categories: Categories, length: float) -> None:
    """Name every row or column, in small letters where there are many; of too many, every second or third."""
    names = axis_names(categories)
    room = 72 * length / len(names) / LINE_HEIGHT  # points
    smallest, largest = FONT_SIZES
    every = 1 if room >= smallest else int(-(-smallest // room))
    size = min(max(room, smallest), largest)
    drawn.set_ticks(range(0, len(names), every), names[::every], fontsize=size)
    drawn.set_label_text(categories.label)
