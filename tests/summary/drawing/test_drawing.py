"""PNG files: equal for equal descriptions, and different where these differ."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import get_args

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from der.summary.charts.blending import shade
from der.summary.charts.description import (
    Axis,
    Bar,
    BarChart,
    Categories,
    Line,
    LineChart,
    Marker,
    MatrixChart,
    Panel,
    Shape,
    Span,
)
from der.summary.drawing.bar_chart import LINE as LINE_HEIGHT
from der.summary.drawing.bar_chart import bar_drawing, named_rows
from der.summary.drawing.line_chart import draw_lines, line_drawing
from der.summary.drawing.matrix_chart import draw_matrix

LINE = Line("a line", (1.0, 2.0, 4.0), (3.0, None, 5.0), "#0072B2")
OTHER = Line("another", (1.0, 4.0), (4.0, 4.0), "#D55E00")
LINES = LineChart("lines", "Lines", Axis("across"), (Panel(Axis("up", "kg"), (LINE, OTHER)),))
SHADES = (shade("#FFFFFF", "#000000"), shade("#FF0000", "#FF8888"))
MATRIX = MatrixChart(
    "matrix",
    "A matrix",
    Categories("row", ("a", "b"), ("0", "1")),
    Categories("column", ("c", "d"), ("0", "1")),
    ((0, 1), (1, None)),
    SHADES,
    key=(("much", 1),),
)
BARS = BarChart(
    "bars",
    "Bars",
    Axis("time", "s"),
    ("first", "second"),
    (Bar("a", 0, 0, 2, "x"), Bar("b", 1, 1, 3, "x")),
    {"x": "#0072B2"},
)


def lines_with(**changes: object) -> LineChart:
    return replace(LINES, panels=(Panel(Axis("up", "kg"), (replace(LINE, **changes), OTHER)),))  # type: ignore[arg-type]


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
        replace(LINES, axis=Axis("along")),
        replace(LINES, axis=Axis("across", ticks=(1, 4))),
        replace(LINES, axis=Axis("across", logarithmic=True)),
        replace(LINES, panels=LINES.panels * 2),
        replace(LINES, panels=(LINES.panels[0], replace(LINES.panels[0], height=2.0))),
        replace(LINES, panels=(Panel(Axis("up", "kg", low=0), (LINE, OTHER)),)),
        replace(LINES, spans=(Span("one", 0, 2), Span("two", 2, 4))),
        replace(LINES, spans=(Span("one", 0, 2), Span("three", 2, 4))),
        lines_with(name="a third"),
        lines_with(in_legend=False),
        lines_with(y=(3.0, 4.0, 5.0)),
        lines_with(band=((2.0, 2.0, 2.0), (5.0, 5.0, 5.0))),
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
        replace(MATRIX, rows=replace(MATRIX.rows, edges=(0.5,))),
        replace(MATRIX, columns=replace(MATRIX.columns, edges=(0.5,))),
        replace(MATRIX, columns=replace(MATRIX.columns, names=("c", "e"))),
        replace(MATRIX, places=((0, 1), (1, 1))),
        replace(MATRIX, texts=(("1", "50"), ("99", ""))),
        replace(MATRIX, key=(("little", 0),)),
        replace(MATRIX, shades=(SHADES[0], shade("#0000FF", "#FF8888"))),
    ]
    assert len({png(chart, tmp_path) for chart in charts}) == len(charts)
    dark = replace(MATRIX, shades=(SHADES[0], shade("#FF0000", "#123456")))
    assert png(dark, tmp_path) == png(MATRIX, tmp_path)


def test_all_words_of_a_matrix_are_on_paper_and_none_on_the_legend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    names = ("a long name of some class", "another")
    draw_matrix(
        replace(
            MATRIX,
            title="A title of so many words that the matrix beside long names has no room for it",
            rows=replace(MATRIX.rows, names=names),
            columns=replace(MATRIX.columns, names=names),
        ),
        tmp_path / "chart.png",
    )
    (figure,) = figures
    (legend,) = figure.legends
    words = [text for text in figure.findobj(Text) if text.get_text()]
    corners = [corner for word in words for corner in word.get_window_extent().corners()]
    assert all(figure.bbox.contains(*corner) for corner in corners)
    others = [word.get_window_extent() for word in words if word not in legend.get_texts()]
    assert not any(box.overlaps(legend.get_window_extent()) for box in others)


def test_drawings_for_the_page_are_equal_for_equal_charts() -> None:
    for draw in (lambda: line_drawing(LINES, 400, 100, (1.0, 4.0)), lambda: bar_drawing(BARS, 400, 20)):
        first = draw()
        with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path"}):
            assert draw() == first


def test_a_single_point_has_an_error_bar_in_place_of_a_band(tmp_path: Path) -> None:
    point = replace(LINE, x=(2.0,), y=(4.0,))
    charts = [
        replace(LINES, panels=(Panel(Axis("up", low=0, high=9), (replace(point, band=band),)),))
        for band in (None, ((3.0,), (5.0,)), ((3.0,), (6.0,)))
    ]
    assert len({png(chart, tmp_path) for chart in charts}) == 3
    assert len({line_drawing(chart, 400, 100, ()).text for chart in charts}) == 3


@pytest.mark.parametrize("rows", [3, 6, 60, 77, 102, 300])
def test_no_name_of_a_row_lies_on_another(rows: int) -> None:
    pixels = max(min(900 // rows, 26), 8)
    named = named_rows(rows, pixels)
    assert named[0] == 0 and named[-1] == rows - 1
    assert all((after - before) * pixels >= LINE_HEIGHT for before, after in pairwise(named))
    assert (len(named) == rows) == (pixels >= LINE_HEIGHT)


def test_places_are_where_matplotlib_draws_them() -> None:
    chart = replace(LINES, axis=Axis("across", low=0, high=4))
    drawing = line_drawing(chart, 400, 100, (0.0, 1.0, 4.0))
    (frame,) = drawing.frames
    assert (drawing.width, drawing.places[0]) == (400, frame.left)
    assert drawing.places[2] == frame.left + frame.width
    assert drawing.places[1] - frame.left == pytest.approx(frame.width / 4, abs=0.1)
    first, second = bar_drawing(BARS, 400, 20).boxes
    assert second.width == pytest.approx(1.5 * first.width, abs=0.2)
    assert second.left == pytest.approx(first.left + first.width / 2, abs=0.2)
    assert second.top - first.top == pytest.approx(20, abs=0.1)
