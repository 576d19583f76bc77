"""Line and bar charts as figures of the page: drawn once for wide and once for narrow screens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from der.report.figures.svg import inline_svg
from der.summary.charts.description import BarChart, Line, LineChart, Shape
from der.summary.drawing.bar_chart import bar_drawing
from der.summary.drawing.line_chart import line_drawing

SIZES = {"wide": 960, "narrow": 372}  # pixels across
HIGHEST, LOWEST, MOST_HEIGHT = 26, 8, 900  # pixels of a row of bars, and of all rows
POINTS: dict[Shape, str] = {  # outlines around the middle of a swatch, (14, 5)
    "circle": "M10 5a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
    "square": "M10 1H18V9H10Z",
    "diamond": "M14 0L19 5L14 10L9 5Z",
    "triangle-up": "M14 1L19 9H9Z",
    "triangle-down": "M14 9L9 1H19Z",
    "cross": "M10 1L18 9M18 1L10 9",
}
MOST_PLACES = 1000  # points along a figure at which the script can say what the values are; of pixels no more


@dataclass(frozen=True)
class Entry:
    """A line of a legend."""

    name: str
    colour: str
    dashes: str = ""  # as SVG has them
    width: float = 2.0
    kind: str = "line"  # or "bar", or "hollow"
    point: str = ""  # the outline of what a single point is drawn as; kind line
    filled: bool = False  # that point


@dataclass(frozen=True)
class Figure:
    """One figure of the page."""

    name: str  # in ids
    drawings: dict[str, Markup]  # by SIZES
    legend: tuple[Entry, ...]
    data: dict[str, Any]  # for the script


def line_figure(
    chart: LineChart, say: Callable[[float], str], *, wide: int, narrow: int, share: float = 1.0
) -> Figure:
    """The figure of a line chart; ``say`` puts an x value into words.

    Pixels of a panel of height 1 are ``wide`` and ``narrow``; ``share`` is that of the page's width which the
    figure has on wide screens.
    """
    x = _places(chart)
    lines = [(panel.axis.unit, panel.axis.label, line) for panel in chart.panels for line in panel.lines]
    drawings, sizes = {}, {}
    for (size, width), unit in zip(SIZES.items(), (wide, narrow), strict=True):
        drawing = line_drawing(chart, round(width * (share if size == "wide" else 1)), unit, x)
        drawings[size] = Markup(inline_svg(drawing.text, f"{chart.name}-{size}"))
        frames = [[frame.left, frame.top, frame.width, frame.height] for frame in drawing.frames]
        sizes[size] = {"size": [drawing.width, drawing.height], "at": drawing.places, "frames": frames}
    data = {
        "kind": "lines",
        "titles": [say(value) for value in x],
        "series": [_series(line, unit, label, len(chart.panels) > 1, x) for unit, label, line in lines],
        **sizes,
    }
    return Figure(chart.name, drawings, _legend(chart), data)


def _places(chart: LineChart) -> tuple[float, ...]:
    """The x values that can be pointed at: of the lines with markers, if any has them; of too many, some."""
    lines = [line for panel in chart.panels for line in panel.lines]
    marked = [line for line in lines if line.marker is not None] or lines
    values = sorted({value for line in marked for value in line.x})
    return tuple(values[:: -(-len(values) // MOST_PLACES)])


def _series(line: Line, unit: str, label: str, panels: bool, x: Sequence[float]) -> dict[str, Any]:
    known = {value: y for value, y in zip(line.x, line.y, strict=True) if y is not None}
    series: dict[str, Any] = {
        "name": label if panels else line.name,
        "colour": line.colour,
        "unit": unit,
        "values": [rounded(known.get(value)) for value in x],
    }
    if line.band is not None:
        bands = dict(zip(line.x, zip(*line.band, strict=True), strict=True))
        series["band"] = [[rounded(end) for end in bands[value]] if value in bands else None for value in x]
    return series


def _legend(chart: LineChart) -> tuple[Entry, ...]:
    entries = {}
    for panel in chart.panels:
        for line in panel.lines:
            dashes = " ".join(f"{length * line.width:g}" for length in line.dashes)
            entry = Entry(line.name, line.colour, dashes, line.width)
            if line.marker is not None and len(line.x) == 1:
                entry = replace(entry, point=POINTS[line.marker.shape], filled=line.marker.filled)
            entries[line.name] = entry
    return tuple(entries.values())


def bar_figure(chart: BarChart) -> Figure:
    """The figure of a bar chart."""
    drawings, sizes = {}, {}
    rows = max(min(MOST_HEIGHT // len(chart.rows), HIGHEST), LOWEST)
    for size, width in SIZES.items():
        drawing = bar_drawing(chart, width, rows)
        drawings[size] = Markup(inline_svg(drawing.text, f"{chart.name}-{size}"))
        boxes = [[box.left, box.top, box.width, box.height] for box in drawing.boxes]
        sizes[size] = {"size": [drawing.width, drawing.height], "boxes": boxes}
    legend = [Entry(kind, colour, kind="bar") for kind, colour in chart.kinds.items()]
    if any(bar.hollow for bar in chart.bars):
        legend.append(Entry("from the cache", "var(--muted)", kind="hollow"))
    data = {"kind": "bars", "items": [[bar.name, bar.text] for bar in chart.bars], **sizes}
    return Figure(chart.name, drawings, tuple(legend), data)


def rounded(value: float | None) -> float | None:
    """Four significant digits or two decimals, which no reader misses and a page need not carry."""
    if value is None:
        return None
    return round(value, 2) if abs(value) >= 10 else float(f"{value:.4g}")
