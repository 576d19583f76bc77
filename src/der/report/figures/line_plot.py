"""Line charts for plotly."""

from typing import Any

from der.report.figures.layout import BAR_HEIGHT, Plot, base_axis, base_layout, colour_axis, rounded
from der.report.figures.text import LINE, figure_text, wrapped_text
from der.summary.charts.description import Axis, ColourKey, Line, LineChart, Panel, Shape

FRAME_HEIGHT, PANEL_HEIGHT = 220, 170  # pixels
LEGEND_LINE = 22  # pixels
LEGEND_DISTANCE = 80  # pixels below the axis
SYMBOL = 6  # characters that would fit into the room of a legend's symbol
SYMBOLS: dict[Shape, str] = {"cross": "x-thin"}  # where plotly has another name
GAP = 0.08  # of the height, between panels


def line_plot(chart: LineChart) -> Plot:
    """The figure of a line chart; each trace's ``meta`` is its line's group."""
    grouped = any(line.group is not None for panel in chart.panels for line in panel.lines)
    data = [
        _trace(chart.axis, panel, index, line, grouped)
        for index, panel in enumerate(chart.panels)
        for line in panel.lines
    ]
    height = _height(chart)
    layout = base_layout() | {
        "xaxis": _axis(chart.axis) | {"anchor": _axis_name("y", len(chart.panels) - 1)},
        **_vertical_axes(chart),
        "hovermode": "closest" if grouped else "x unified",
        "hoverlabel": {"namelength": -1},
        "legend": {"orientation": "h", "x": 0, "y": -LEGEND_DISTANCE / height, "yanchor": "top"},
    }
    if chart.key is not None:
        data.append(_key_trace())
        layout["coloraxis"] = _key_scale(chart.key)
    return Plot(f"figure-{chart.name}", {"data": data, "layout": layout}, height, 0, chart.note)


def _height(chart: LineChart) -> int:
    """Pixels, with a legend that is as long as narrow screens have it."""
    entries = [line.name for panel in chart.panels for line in panel.lines if line.in_legend]
    letters = sum(len(name) + SYMBOL for name in entries)
    legend = LEGEND_LINE * -(-letters // LINE)
    return FRAME_HEIGHT + PANEL_HEIGHT * len(chart.panels) + (BAR_HEIGHT if chart.key else legend)


def _vertical_axes(chart: LineChart) -> dict[str, dict[str, Any]]:
    """The axis of every panel, the first on top."""
    count = len(chart.panels)
    height = (1 - GAP * (count - 1)) / count
    axes = {}
    for index, panel in enumerate(chart.panels):
        bottom = (count - 1 - index) * (height + GAP)
        domain = {"domain": [round(bottom, 4), round(bottom + height, 4)]}
        axes[_axis_name("yaxis", index)] = _axis(panel.axis) | domain
    return axes


def _trace(across: Axis, panel: Panel, index: int, line: Line, grouped: bool) -> dict[str, Any]:
    value = "%{y:.4~r}" + (f" {panel.axis.unit}" if panel.axis.unit else "")
    trace: dict[str, Any] = {
        "type": "scatter",
        "x": line.x,
        "y": [rounded(y) for y in line.y],
        "yaxis": _axis_name("y", index),
        "name": wrapped_text(line.name),
        "showlegend": line.in_legend,
        "mode": "lines+markers" if line.marker else "lines",
        "line": {"color": line.colour, "width": line.width, "dash": _dash(line)},
        "hovertemplate": f"{figure_text(across.label)} %{{x}}: {value}" if grouped else value,
    }
    if line.marker is not None:
        symbol = SYMBOLS.get(line.marker.shape, line.marker.shape) + ("" if line.marker.filled else "-open")
        trace["marker"] = {"symbol": symbol, "size": line.marker.size}
    if line.group is not None:
        trace |= {"meta": line.group, "legendgroup": str(line.group)}
    return trace


def _dash(line: Line) -> str:
    return ",".join(f"{length * line.width:g}px" for length in line.dashes) or "solid"


def _axis_name(axis: str, index: int) -> str:
    """plotly counts axes from 1, and leaves the 1 out."""
    return axis if index == 0 else f"{axis}{index + 1}"


def _axis(axis: Axis) -> dict[str, Any]:
    shape = base_axis(axis.title, standoff=8)
    if axis.logarithmic:
        shape["type"] = "log"
    elif axis.low is not None or axis.high is not None:
        shape |= {"range": [axis.low, axis.high], "autorange": _free_ends(axis)}
    if axis.whole:
        shape |= {"tickformat": "d", "hoverformat": "d"}
    if axis.ticks is not None:
        shape |= {"tickvals": axis.ticks, "ticktext": [f"{tick:g}" for tick in axis.ticks]}
    return shape


def _free_ends(axis: Axis) -> str | bool:
    """Which end of the range plotly finds itself."""
    if axis.low is None:
        return "min"
    return "max" if axis.high is None else False


def _key_trace() -> dict[str, Any]:
    """A trace of no visible point, to which a colour bar can belong."""
    marker = {"color": [1], "coloraxis": "coloraxis"}
    return {
        "type": "scatter",
        "x": [None],
        "y": [None],
        "mode": "markers",
        "marker": marker,
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _key_scale(key: ColourKey) -> dict[str, Any]:
    last = len(key.colours) - 1
    scale = colour_axis([[i / last, colour] for i, colour in enumerate(key.colours)], 1, last + 1)
    scale["colorbar"] |= {"title": {"text": figure_text(key.label), "side": "top"}, "tickformat": "d"}
    return scale
