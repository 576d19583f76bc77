"""What the script is told of charts and matrices, and the pictures of cells."""

import base64
import io
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from der.report.figures import cells as module
from der.report.figures.cells import cells, key, numbers
from der.report.figures.drawn import bar_figure, line_figure, rounded
from der.report.figures.matrices import MOST_CELLS, confusion_matrix, forgetting_matrix, kept_steps, sparse
from der.report.thumbnails import mistake_album
from der.summary.charts.accuracy import Curve, accuracy_chart
from der.summary.charts.confusion import confusion_chart
from der.summary.charts.timeline import timeline_chart
from tests.report.report_runs import make_run, with_times

RUN = make_run([4, 2, 2])


def test_lines_say_what_the_chart_shows_at_every_place() -> None:
    curve = Curve("a preset", "A paper", [4, 6, 8], [90.0, 80.0, 70.0])
    chart = accuracy_chart(RUN.summary, [curve])
    figure = line_figure(chart, lambda x: f"{x:g} classes", wide=200, narrow=100)
    assert figure.data["titles"] == ["4 classes", "6 classes", "8 classes"]
    for series, line in zip(figure.data["series"], chart.panels[0].lines, strict=True):
        assert series["values"] == [rounded(value) for value in line.y] and series["colour"] == line.colour
        assert ("band" in series) == (line.band is not None)
    for size in ("wide", "narrow"):
        places = figure.data[size]["at"]
        assert list(places) == sorted(places) and len(figure.data[size]["frames"]) == 1
        assert f"0 0 {figure.data[size]['size'][0]} {figure.data[size]['size'][1]}" in figure.drawings[size]
    assert [entry.name for entry in figure.legend] == [line.name for line in chart.panels[0].lines]


def test_bars_lie_where_the_script_looks_for_them() -> None:
    chart = timeline_chart(with_times(RUN, computed_from=2).times, 3)
    figure = bar_figure(chart)
    assert [name for name, _ in figure.data["items"]] == [bar.name for bar in chart.bars]
    boxes = figure.data["wide"]["boxes"]
    for bar, box in zip(chart.bars, boxes, strict=True):
        assert box[2] / boxes[0][2] == bar.length / chart.bars[0].length or abs(box[2] - boxes[0][2]) >= 0
    tops = {bar.row: box[1] for bar, box in zip(chart.bars, boxes, strict=True)}
    assert [tops[row] for row in sorted(tops)] == sorted(tops.values())
    assert figure.legend[-1].kind == "hollow"
    assert "hollow" not in {
        entry.kind for entry in bar_figure(timeline_chart(with_times(RUN).times, 3)).legend
    }


def decode(uri: str) -> Any:
    image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
    return np.asarray(image.convert("RGBA"))


def test_a_cell_is_a_pixel_of_its_shade_and_an_empty_one_is_transparent() -> None:
    counts = np.array([[19, 1, 0], [0, 18, 2], [0, 0, 20]])
    chart = confusion_chart(counts, ["a", "b", "c"], [2, 3], 2)
    pictures = cells(chart)
    for uri, scheme in ((pictures.light, "light"), (pictures.dark, "dark")):
        pixels = decode(uri)
        assert pixels.shape == (3, 3, 4)
        for row in range(3):
            for column in range(3):
                place = chart.places[row][column]
                assert (place is None) == (counts[row, column] == 0) == (pixels[row, column, 3] == 0)
                if place is not None:
                    colour = getattr(chart.shades[place], scheme).colour
                    assert bytes(pixels[row, column, :3].tolist()) == bytes.fromhex(colour[1:])
    assert {(one.row, one.column, one.text) for one in numbers(chart)} == {
        (0, 0, "95"),
        (0, 1, "5"),
        (1, 1, "90"),
        (1, 2, "10"),
        (2, 2, "100"),
    }
    assert [one.text for one in key(chart)] == [text for text, _ in chart.key]


def test_the_confusion_of_every_step_is_told_whole() -> None:
    matrix = confusion_matrix(RUN, mistake_album(RUN.mistakes, RUN.confusions, RUN.names))
    assert [one["step"] for one in matrix.data["steps"]] == [1, 2, 3]
    for told, counts in zip(matrix.data["steps"], RUN.confusions, strict=True):
        found = np.zeros(counts.size, np.int64)
        places = np.cumsum(told["counts"][::2])
        found[places] = told["counts"][1::2]
        np.testing.assert_array_equal(found.reshape(counts.shape), counts)
        assert told["light"] != told["dark"]
    assert matrix.data["steps"][-1]["light"] == matrix.cells.light
    assert matrix.parts == [(0, 4), (4, 2), (6, 2)] and not matrix.large


def test_sparse_by_hand() -> None:
    assert sparse(np.array([[5, 0], [0, 7]])) == [0, 5, 3, 7]
    assert sparse(np.zeros((2, 2), np.int64)) == []


@given(st.integers(1, 9), st.integers(1, 5), st.data())
def test_cells_that_share_a_pixel_show_the_darkest(classes: int, largest: int, data: st.DataObject) -> None:
    percents = st.lists(st.integers(0, 20), min_size=classes, max_size=classes)
    counts = np.array(data.draw(st.lists(percents, min_size=classes, max_size=classes)))
    chart = confusion_chart(counts, [f"{label}" for label in range(classes)], [classes], 1)
    whole = decode(cells(chart).light).astype(int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LARGEST", largest)
        shown = decode(cells(chart).light).astype(int)
    side = min(classes, largest)
    assert shown.shape == (side, side, 4)
    place = [label * side // classes for label in range(classes)]
    for row, column in np.ndindex(side, side):
        share = [
            whole[one, other]
            for one, other in np.ndindex(classes, classes)
            if (place[one], place[other]) == (row, column)
        ]
        darkest = min(share, key=lambda pixel: (pixel[3] == 0, pixel[:3].sum()))
        assert shown[row, column].tolist() == darkest.tolist()


def test_of_very_many_cells_some_steps_are_left_out_but_never_the_last() -> None:
    assert kept_steps(100, 50) == list(range(1, 51))
    for classes, steps in ((1000, 100), (3000, 7)):
        kept = kept_steps(classes, steps)
        assert kept[-1] == steps and len(kept) <= max(MOST_CELLS // classes**2, 1)
    assert kept_steps(1000, 100) == [25, 50, 75, 100]


def test_names_of_many_rows_are_left_out_by_fives_or_tens() -> None:
    many = forgetting_matrix(make_run([1] * 50))
    assert many.large and not many.parted
    assert [place for place in range(50) if not many.spared(place)] == [0, 10, 20, 30, 40]
    on_wide_screens = [place for place in range(50) if "rare" not in many.spared(place).get("class", "")]
    assert on_wide_screens == list(range(0, 50, 2))
    few = forgetting_matrix(RUN)
    assert not few.large and not any(few.spared(place) for place in range(3))


def test_steps_are_numbered_beside_their_classes_where_there_is_room() -> None:
    few, numbered = confusion_matrix(RUN, mistake_album(RUN.mistakes, RUN.confusions, RUN.names)), {}
    for sizes in ([10] * 10, [50] + [5] * 10, [1] * 100):
        edges = tuple(end - 0.5 for end in accumulate(sizes[:-1]))
        rows = replace(few.rows, names=("a",) * 100, edges=edges)
        matrix = replace(few, rows=rows, row_names=["a"] * 100)
        assert matrix.parted and not any(matrix.spared(place) for place in range(100))
        numbered[len(sizes)] = [step for step, *_ in matrix.named_parts]
    assert numbered == {10: list(range(1, 11)), 11: list(range(1, 12)), 100: list(range(10, 101, 10))}


def test_a_single_point_is_told_by_its_shape_in_the_legend() -> None:
    chart = accuracy_chart(RUN.summary, joint=70.0)
    figure = line_figure(chart, str, wide=200, narrow=100)
    assert [bool(entry.point) for entry in figure.legend] == [False, False, True]
    assert figure.legend[-1].filled and figure.data["series"][-1]["values"] == [None, None, 70.0]


def test_forgetting_is_told_by_accuracies_and_images() -> None:
    data = forgetting_matrix(RUN).data
    assert data["accuracy"] == [list(step["per_step"].values()) for step in RUN.steps]
    assert data["images"] == [80, 40, 40]
    assert data["names"][0].startswith("1: ")
