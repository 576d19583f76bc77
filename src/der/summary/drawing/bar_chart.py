"""Rows of bars as drawings of the page."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from der.summary.charts.description import BarChart
from der.summary.charts.names import every_so_many
from der.summary.drawing.canvas import FONT_SIZE, Canvas, svg_drawing

LEFT, RIGHT, TOP, BOTTOM = 64, 14, 8, 40  # pixels
THICK = 0.62  # of a row
FAINT = 0.22  # of a colour, in a hollow bar
LINE = 1.25 * FONT_SIZE  # pixels of a name
LEAST = 0.002  # of the axis: so long is a bar at least, lest it vanish


@dataclass(frozen=True)
class Box:
    """Where a bar lies, in pixels from the top left corner."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class BarDrawing:
    """SVG as matplotlib writes it, and where each bar lies in it."""

    text: str
    width: int
    height: int
    boxes: tuple[Box, ...]


def bar_drawing(chart: BarChart, width: int, row: int) -> BarDrawing:
    """The chart without title and legend, ``row`` pixels for a row."""
    height = TOP + row * len(chart.rows) + BOTTOM
    with svg_drawing(width, height) as canvas:
        axes = canvas.axes(LEFT, TOP, width - LEFT - RIGHT, height - TOP - BOTTOM)
        axes.set_ylim(len(chart.rows) - 0.5, -0.5)
        longest = max(bar.start + bar.length for bar in chart.bars)
        axes.set_xlim(0, longest)
        named = named_rows(len(chart.rows), row)
        axes.set_yticks(named, [chart.rows[one] for one in named])
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.set_xlabel(chart.axis.title)
        axes.grid(visible=True, axis="x")
        _draw_bars(axes, chart, LEAST * longest)
        boxes = tuple(_box(canvas, axes, bar.row, bar.start, bar.length) for bar in chart.bars)
    return BarDrawing(canvas.text, width, height, boxes)


def named_rows(rows: int, pixels: int) -> list[int]:
    """The rows, each of so many pixels, that are named: of too many every second, fifth, ..., and the last.

    So that no name lies on another.
    """
    every = every_so_many(rows, rows * pixels / LINE)
    return [one for one in range(0, rows - 1, every) if (rows - 1 - one) * pixels >= LINE] + [rows - 1]


def _draw_bars(axes: Axes, chart: BarChart, least: float) -> None:
    for bar in chart.bars:
        colour = chart.kinds[bar.kind]
        axes.barh(
            bar.row,
            max(bar.length, least),
            THICK,
            bar.start,
            facecolor=(colour, FAINT if bar.hollow else 1.0),
            edgecolor=colour,
            linewidth=1.2 if bar.hollow else 0.4,
        )


def _box(canvas: Canvas, axes: Axes, row: int, start: float, length: float) -> Box:
    corners = [(start, row - THICK / 2), (start + length, row + THICK / 2)]
    (left, top), (right, bottom) = canvas.pixels(axes, corners)
    return Box(left, top, round(right - left, 1), round(bottom - top, 1))
