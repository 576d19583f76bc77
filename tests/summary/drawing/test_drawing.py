"""PNG files: equal for equal descriptions, and different where these differ."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import matplotlib
import pytest

from der.summary.charts.description import (
    Axis,
    Categories,
    ColourKey,
    ColourScale,
    Line,
    LineChart,
    Marker,
    MatrixChart,
    Panel,
    Shape,
    Tones,
)
from der.summary.drawing.line_chart import draw_lines
from der.summary.drawing.matrix_chart import draw_matrix

LINE = Line("a line", (1.0, 2.0, 4.0), (3.0, None, 5.0), "#0072B2")
LINES = LineChart("lines", "Lines", Axis("across"), (Panel(Axis("up", "kg"), (LINE,)),))
TONES = Tones(("#FFFFFF", "#FF0000"), "#000000")
SCALE = ColourScale("share", "%", 0, 100, (0, 50, 100), TONES, TONES)
MATRIX = MatrixChart(
    "matrix",
    "A matrix",
    Categories("row", ("a", "b")),
    Categories("column", ("c", "d")),
    ((1, 50), (99, None)),
    SCALE,
)


def lines_with(**changes: object) -> LineChart:
    return replace(LINES, panels=(Panel(Axis("up", "kg"), (replace(LINE, **changes),)),))  # type: ignore[arg-type]


def png(chart: LineChart | MatrixChart, folder: Path) -> bytes:
    path = folder / "chart.png"
    if isinstance(chart, LineChart):
        draw_lines(chart, path)
    else:
        draw_matrix(chart, path)
    return path.read_bytes()


@pytest.mark.parametrize("chart", [LINES, MATRIX], ids=["lines", "matrix"])
def test_equal_charts_give_equal_bytes_whatever_the_user_likes(
    chart: LineChart | MatrixChart, tmp_path: Path
) -> None:
    first = png(chart, tmp_path)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert png(chart, tmp_path) == first
        assert matplotlib.rcParams["font.size"] == 30


def test_every_part_of_a_line_chart_is_drawn(tmp_path: Path) -> None:
    charts = [
        LINES,
        replace(LINES, title="Others"),
        replace(LINES, note="dashed: others"),
        replace(LINES, axis=Axis("along")),
        replace(LINES, axis=Axis("across", ticks=(1, 4))),
        replace(LINES, axis=Axis("across", logarithmic=True)),
        replace(LINES, panels=LINES.panels * 2),
        replace(LINES, panels=(Panel(Axis("up", "kg", low=0), (LINE,)),)),
        replace(LINES, key=ColourKey("number", ("#000000", "#FF0000"))),
        lines_with(name="another"),
        lines_with(in_legend=False),
        lines_with(y=(3.0, 4.0, 5.0)),
        lines_with(colour="#000000"),
        lines_with(width=3),
        lines_with(dashes=(4, 2)),
        *(lines_with(marker=Marker(shape, 9)) for shape in get_args(Shape)),
        lines_with(marker=Marker("circle", 9, filled=True)),
        lines_with(marker=Marker("circle", 5)),
    ]
    assert len({png(chart, tmp_path) for chart in charts}) == len(charts)


def test_every_part_of_a_matrix_is_drawn(tmp_path: Path) -> None:
    charts = [
        MATRIX,
        replace(MATRIX, title="Another"),
        replace(MATRIX, rows=Categories("row", ("a", "b"), edges=(0.5,))),
        replace(MATRIX, columns=Categories("column", ("c", "d"), edges=(0.5,))),
        replace(MATRIX, columns=Categories("column", ("c", "e"))),
        replace(MATRIX, values=((1, 50), (99, 60))),
        replace(MATRIX, texts=(("1", "50"), ("99", ""))),
        replace(MATRIX, scale=replace(SCALE, exponent=0.5)),
        replace(MATRIX, scale=replace(SCALE, high=99)),
        replace(MATRIX, scale=replace(SCALE, ticks=(0, 100))),
        replace(MATRIX, scale=replace(SCALE, light=Tones(("#FFFFFF", "#0000FF"), "#000000"))),
    ]
    assert len({png(chart, tmp_path) for chart in charts}) == len(charts)
    assert png(replace(MATRIX, scale=replace(SCALE, dark=Tones(("#000000",), "#FFFFFF"))), tmp_path) == png(
        MATRIX, tmp_path
    )
