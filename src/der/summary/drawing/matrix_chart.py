"""Matrices as PNG files."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis as DrawnAxis
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from der.summary.charts.description import Categories, ColourScale, MatrixChart, Table
from der.summary.drawing.canvas import axis_names, drawing

CELL = 0.48  # inches
SMALLEST, LARGEST = 3.5, 10.0  # inches of a side
FONT_SIZES = (6.0, 10.0)  # points of names
LINE_HEIGHT = 1.15  # of a font's size


def draw_matrix(chart: MatrixChart, path: Path) -> None:
    """Draw a PNG file, byte-identical for equal charts."""
    height, width = (_length(len(axis.names)) for axis in (chart.rows, chart.columns))
    with drawing(path, width + 3, height + 2) as figure:
        axes = figure.add_subplot()
        values = np.array(chart.values, dtype=np.float64)  # NaN for None
        shades = LinearSegmentedColormap.from_list("shades", list(chart.scale.light.colours))
        norm = PowerNorm(chart.scale.exponent, chart.scale.low, chart.scale.high)
        image = axes.imshow(values, cmap=shades, norm=norm, interpolation="nearest")
        if chart.texts is not None:
            _write_cells(axes, chart.texts, chart.scale.light.text)
        _name_ticks(axes.xaxis, chart.columns, width)
        _name_ticks(axes.yaxis, chart.rows, height)
        if max(map(len, axis_names(chart.columns.names))) > 3:
            axes.xaxis.set_tick_params(rotation=90)
        for edge in chart.rows.edges:
            axes.axhline(edge, color="0.6", linewidth=0.8)
        for edge in chart.columns.edges:
            axes.axvline(edge, color="0.6", linewidth=0.8)
        axes.set_title(chart.title)
        _add_bar(figure, axes, image, chart.scale)


def _length(count: int) -> float:
    """Inches of a side of ``count`` cells."""
    return min(max(CELL * count, SMALLEST), LARGEST)


def _write_cells(axes: Axes, texts: Table[str], colour: str) -> None:
    for row, cells in enumerate(texts):
        for column, text in enumerate(cells):
            if text:
                axes.text(column, row, text, color=colour, fontsize=9, ha="center", va="center")


def _name_ticks(drawn: DrawnAxis, categories: Categories, length: float) -> None:
    """Name every row or column, in small letters where there are many; of too many, every second or third."""
    names = axis_names(categories.names)
    room = 72 * length / len(names) / LINE_HEIGHT  # points
    smallest, largest = FONT_SIZES
    every = 1 if room >= smallest else int(-(-smallest // room))
    size = min(max(room, smallest), largest)
    drawn.set_ticks(range(0, len(names), every), names[::every], fontsize=size)
    drawn.set_label_text(categories.label)


def _add_bar(figure: Figure, axes: Axes, image: AxesImage, scale: ColourScale) -> None:
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, label=scale.title, fraction=0.04, ticks=scale.ticks)
    bar.outline.set_visible(False)
