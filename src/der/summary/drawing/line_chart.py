"""Line charts: as PNG files, and as drawings of the page."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis as DrawnAxis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from der.summary.charts.colours import GRID, MUTED
from der.summary.charts.description import Axis, Band, Line, LineChart
from der.summary.charts.limits import MOST_LISTED
from der.summary.drawing.canvas import Canvas, drawing, svg_drawing

LEGEND_LINE = 22  # characters
ROUND = [1, 2, 5, 10]  # what ticks are multiples of, at any power of ten
MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "cross": "x",
}
SHORT = FuncFormatter(lambda value, _: f"{round(value, 12) or 0:g}")  # as little of a number as tells it
LEFT, RIGHT, TOP, BOTTOM, GAP = 46, 12, 26, 40, 34  # pixels around and between panels
CAP = 4  # points, half of an error bar's ends


@dataclass(frozen=True)
class Frame:
    """Where a panel lies, in pixels from the top left corner."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Drawing:
    """SVG as matplotlib writes it, and what lies where in it, in pixels from the top left corner."""

    text: str
    width: int
    height: int
    frames: tuple[Frame, ...]
    places: tuple[float, ...]  # of the x values asked for, from the left


def draw_lines(chart: LineChart, path: Path) -> None:
    """Draw a PNG file, byte-identical for equal charts."""
    heights = [panel.height for panel in chart.panels]
    with drawing(path, 8.5, 3 + 2 * sum(heights)) as figure:
        grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
        rows = grid[:, 0].tolist()
        _fill(rows, chart)
        for axes, panel in zip(rows, chart.panels, strict=True):
            axes.set_ylabel(panel.axis.title)
        rows[0].set_title("\n".join(textwrap.wrap(chart.title, 80)), pad=24 if chart.spans else None)
        handles, labels = rows[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside right upper")


def line_drawing(chart: LineChart, width: int, unit: int, x: tuple[float, ...]) -> Drawing:
    """The chart without title and legend, ``unit`` pixels for a panel of height 1; ``x`` are to be placed."""
    heights = [unit * panel.height for panel in chart.panels]
    total = round(TOP + sum(heights) + GAP * (len(heights) - 1) + BOTTOM)
    with svg_drawing(width, total) as canvas:
        frames, top = [], float(TOP)
        for height in heights:
            frames.append(Frame(LEFT, top, width - LEFT - RIGHT, height))
            top += height + GAP
        rows = [canvas.axes(one.left, one.top, one.width, one.height) for one in frames]
        _fill(rows, chart)
        for axes, panel in zip(rows, chart.panels, strict=True):
            axes.set_title(
                panel.axis.title, fontsize="medium", fontweight="normal", x=-LEFT / frames[0].width
            )
            axes.set_xticklabels([]) if axes is not rows[-1] else None
        places = _places(canvas, rows[-1], x)
    return Drawing(canvas.text, width, total, tuple(frames), places)


def _places(canvas: Canvas, axes: Axes, x: tuple[float, ...]) -> tuple[float, ...]:
    level = axes.get_ylim()[0]
    return tuple(across for across, _ in canvas.pixels(axes, [(value, level) for value in x]))


def _fill(rows: list[Axes], chart: LineChart) -> None:
    for axes, panel in zip(rows, chart.panels, strict=True):
        for line in panel.lines:
            _draw_line(axes, line)
        axes.grid(visible=True, axis="y")
        axes.set_yscale(_scale(panel.axis))
        _shape_axis(axes.yaxis, panel.axis)
        axes.set_ylim(panel.axis.low, panel.axis.high)
        axes.set_xscale(_scale(chart.axis))
        _shape_axis(axes.xaxis, chart.axis)
        axes.set_xlim(*_ends(chart))
        for span in chart.spans[1:]:
            axes.axvline(span.start, color=GRID, linewidth=1)
    rows[-1].set_xlabel(chart.axis.title)
    if chart.spans:
        _name_spans(rows[0], chart)


def _ends(chart: LineChart) -> tuple[float | None, float | None]:
    if chart.spans:
        return chart.spans[0].start, chart.spans[-1].end
    return chart.axis.low, chart.axis.high


def _name_spans(axes: Axes, chart: LineChart) -> None:
    """Name the stretches above the panel; of many the first, the last, and some between."""
    every = -(-len(chart.spans) // MOST_LISTED)
    for span in chart.spans[::every]:
        place = ((span.start + span.end) / 2, 1.0)
        text = span.name if len(chart.spans) <= MOST_LISTED / 2 else span.name.rpartition(" ")[2]
        axes.annotate(
            text,
            place,
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=MUTED,
            fontsize="small",
        )


def _draw_line(axes: Axes, line: Line) -> None:
    marker = line.marker
    if line.band is not None:
        _draw_band(axes, line.x, line.band, line.colour)
    axes.plot(
        line.x,
        [float("nan") if value is None else value for value in line.y],
        label="\n".join(textwrap.wrap(line.name, LEGEND_LINE)) if line.in_legend else None,
        color=line.colour,
        linewidth=line.width,
        linestyle=(0, line.dashes) if line.dashes else "-",
        marker=MARKERS[marker.shape] if marker else "",
        markersize=marker.size if marker else 0,
        markerfacecolor=line.colour if marker and marker.filled else "none",
    )


def _draw_band(axes: Axes, x: tuple[float, ...], band: Band, colour: str) -> None:
    """What is around a line; around a single point an error bar."""
    if len(x) > 1:
        axes.fill_between(x, *band, color=colour, alpha=0.18, linewidth=0)
    else:
        middle = [(low + high) / 2 for low, high in zip(*band, strict=True)]
        half = [(high - low) / 2 for low, high in zip(*band, strict=True)]
        axes.errorbar(x, middle, half, fmt="none", ecolor=colour, elinewidth=1.2, capsize=CAP)


def _scale(axis: Axis) -> str:
    return "log" if axis.logarithmic else "linear"


def _shape_axis(drawn: DrawnAxis, axis: Axis) -> None:
    """Put the ticks where they belong."""
    drawn.set_minor_locator(NullLocator())
    if axis.ticks is not None:
        drawn.set_major_locator(FixedLocator(axis.ticks))
        drawn.set_major_formatter(SHORT)
    elif not axis.logarithmic:
        few = 1 if axis.whole else 2
        drawn.set_major_locator(MaxNLocator("auto", integer=axis.whole, min_n_ticks=few, steps=ROUND))
        drawn.set_major_formatter(SHORT)
