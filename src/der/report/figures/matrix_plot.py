"""Matrices for plotly."""

from typing import Any

from der.report.figures.layout import BAR_HEIGHT, Plot, base_axis, base_layout, colour_axis, rounded
from der.report.figures.text import axis_labels, figure_text, wrapped_text
from der.summary.charts.blending import blend
from der.summary.charts.description import Categories, ColourScale, MatrixChart, Tones

CELL = 28  # pixels
SMALLEST, LARGEST = 320, 860  # pixels of all cells
LETTER = 8  # pixels, of a cell's text
NARROWEST = 8  # pixels of a cell without text
FRAME_HEIGHT, FRAME_WIDTH = 160, 140  # pixels
GRADES = 10  # pieces in which plotly gets a scale that it cannot bend itself
PARTING = {"width": 1, "color": "rgba(128, 128, 128, 0.6)"}


def matrix_plot(chart: MatrixChart) -> Plot:
    """The figure of a matrix.

    ``layout.meta`` has what the page's script makes of it: the tones of either scheme, whole names, and the
    words for the counts, ``customdata``.
    """
    rows, columns = len(chart.rows.names), len(chart.columns.names)
    meta: dict[str, Any] = {
        "light": _tones(chart.scale.light, chart.scale.exponent),
        "dark": _tones(chart.scale.dark, chart.scale.exponent),
        "rows": [wrapped_text(name) for name in chart.rows.names],
        "columns": [wrapped_text(name) for name in chart.columns.names],
    }
    if chart.counts is not None:
        meta["counted"] = [chart.counts.singular, chart.counts.plural]
    layout = base_layout() | {
        "xaxis": _axis(chart.columns) | {"tickangle": _angle(chart.columns)},
        "yaxis": _axis(chart.rows) | {"autorange": "reversed"},
        "coloraxis": _scale(chart.scale),
        "shapes": _partings(chart),
        "meta": meta,
    }
    height = min(max(CELL * rows, SMALLEST), LARGEST) + FRAME_HEIGHT + BAR_HEIGHT
    width = min(_cell_width(chart) * columns, LARGEST) + FRAME_WIDTH
    return Plot(f"figure-{chart.name}", {"data": [_heatmap(chart)], "layout": layout}, height, width)


def _heatmap(chart: MatrixChart) -> dict[str, Any]:
    lines = [
        f"{figure_text(chart.rows.label)}: %{{customdata[0]}}",
        f"{figure_text(chart.columns.label)}: %{{customdata[1]}}",
        ("%{customdata[2]}, " if chart.counts else "") + f"%{{z:.4~r}} {chart.scale.unit}<extra></extra>",
    ]
    heatmap: dict[str, Any] = {
        "type": "heatmap",
        "z": [[rounded(value) for value in row] for row in chart.values],
        "x": axis_labels(chart.columns.names),
        "y": axis_labels(chart.rows.names),
        "coloraxis": "coloraxis",
        "hoverongaps": False,
        "hovertemplate": "<br>".join(lines),
    }
    if chart.counts is not None:
        heatmap["customdata"] = chart.counts.numbers
    if chart.texts is not None:
        escaped = [[figure_text(text) for text in row] for row in chart.texts]
        heatmap |= {"text": escaped, "texttemplate": "%{text}"}
    return heatmap


def _axis(categories: Categories) -> dict[str, Any]:
    return base_axis(categories.label) | {"type": "category", "showgrid": False}


def _angle(categories: Categories) -> int:
    return -90 if max(map(len, categories.names)) > 3 else 0


def _scale(scale: ColourScale) -> dict[str, Any]:
    axis = colour_axis(_tones(scale.light, scale.exponent)["stops"], scale.low, scale.high)
    axis["colorbar"]["ticksuffix"] = f" {scale.unit}"
    return axis


def _tones(tones: Tones, exponent: float) -> dict[str, Any]:
    """The script's form: ``stops`` as plotly takes them, and the colour of texts."""
    shares = [(grade / GRADES) ** (1 / exponent) for grade in range(GRADES + 1)]
    stops = [[round(share, 4), blend(tones.colours, share**exponent)] for share in shares]
    return {"stops": stops, "text": tones.text}


def _partings(chart: MatrixChart) -> list[dict[str, Any]]:
    """Lines across the whole matrix, in front of rows and columns."""
    across = [{"xref": "paper", "x0": 0, "x1": 1, "y0": edge, "y1": edge} for edge in chart.rows.edges]
    down = [{"yref": "paper", "y0": 0, "y1": 1, "x0": edge, "x1": edge} for edge in chart.columns.edges]
    return [{"type": "line", "line": PARTING, **ends} for ends in (*across, *down)]


def _cell_width(chart: MatrixChart) -> int:
    if chart.texts is None:
        return NARROWEST
    return LETTER * max(len(text) for row in chart.texts for text in row)
