"""Line charts as PNG files."""

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis as DrawnAxis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from der.summary.charts.description import Axis, ColourKey, Line, LineChart
from der.summary.drawing.canvas import drawing

LEGEND_LINE = 22  # characters
MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "cross": "x",
}


def draw_lines(chart: LineChart, path: Path) -> None:
    """Draw a PNG file, byte-identical for equal charts."""
    with drawing(path, 8.5, 3 + 2 * len(chart.panels)) as figure:
        rows = figure.subplots(len(chart.panels), 1, sharex=True, squeeze=False)[:, 0].tolist()
        for axes, panel in zip(rows, chart.panels, strict=True):
            for line in panel.lines:
                _draw_line(axes, line)
            axes.grid(visible=True)
            axes.set_yscale(_scale(panel.axis))
            _shape_axis(axes.yaxis, panel.axis)
            axes.set_ylabel(panel.axis.title)
            axes.set_ylim(panel.axis.low, panel.axis.high)
        rows[-1].set_xscale(_scale(chart.axis))
        _shape_axis(rows[-1].xaxis, chart.axis)
        rows[-1].set_xlabel(chart.axis.title)
        rows[-1].set_xlim(chart.axis.low, chart.axis.high)
        rows[0].set_title(f"{chart.title} ({chart.note})" if chart.note else chart.title)
        if chart.key is not None:
            _add_key(figure, rows, chart.key)
        if any(line.in_legend for panel in chart.panels for line in panel.lines):
            figure.legend(loc="outside right upper")


def _draw_line(axes: Axes, line: Line) -> None:
    marker = line.marker
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


def _scale(axis: Axis) -> str:
    return "log" if axis.logarithmic else "linear"


def _shape_axis(drawn: DrawnAxis, axis: Axis) -> None:
    """Put the ticks where they belong."""
    drawn.set_minor_locator(NullLocator())
    if axis.ticks is not None:
        drawn.set_major_locator(FixedLocator(axis.ticks))
        drawn.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif axis.whole:
        drawn.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _add_key(figure: Figure, rows: list[Axes], key: ColourKey) -> None:
    scale = ScalarMappable(Normalize(0.5, len(key.colours) + 0.5), ListedColormap(key.colours))
    ticks = MaxNLocator(integer=True, steps=[1, 2, 5, 10])
    bar = figure.colorbar(scale, ax=rows, label=key.label, fraction=0.04, ticks=ticks)
    bar.outline.set_visible(False)
