"""The matrices of accuracy and of confusion: by hand, and their pictures cell by cell."""

import numpy as np
import pytest

from der.report.matrices import (
    CONFUSION,
    EMPTY,
    GRADES,
    LOSSES,
    MOST_WRITTEN,
    RIGHT,
    WRONG,
    confusion_chart,
    contrast,
    forgetting_chart,
    grade_share,
    name_cohorts,
)
from tests.report.test_charts import in_style
from tests.report.test_thumbnails import decode
from tests.summary.step_metrics import MATRIX, make_steps

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox"]


def test_accuracies_are_shaded_by_what_was_lost_since() -> None:
    chart = forgetting_chart(make_steps(MATRIX, [2, 2, 2]), NAMES, [10, 10, 20, 20, 30, 30])
    same, most = GRADES - 1, 2 * GRADES - 2
    assert chart.places.tolist() == [
        [same, EMPTY, EMPTY],
        [most, same, EMPTY],  # 20 points lost
        [same + round(0.75 * (GRADES - 1)), most, same],
    ]
    assert chart.texts == [["90.0", "", ""], ["70.0", "80.0", ""], ["75.0", "60.0", "95.0"]]
    assert chart.names == ["1: ant, bee", "2: cat, dog", "3: eel, fox"]
    assert chart.data["accuracy"] == MATRIX and chart.data["images"] == [20, 40, 60]
    gained = forgetting_chart(make_steps([[50.0], [90.0, 80.0]], [2, 2]), NAMES[:4])
    assert gained.places.tolist() == [[same, EMPTY], [0, same]]
    little = forgetting_chart(make_steps([[100.0], [99.0, 100.0]], [2, 2]), NAMES[:4])
    assert little.places[1, 0] == GRADES  # a point of twenty: the palest shade of all that is lost


def test_classes_of_a_step_are_named_by_all_or_by_first_and_last() -> None:
    names = ["0", "1", "2", "a very long name indeed", "b", "another long name"]
    assert name_cohorts(names, [3, 6]) == ["0, 1, 2", "a ver…deed … anoth…name"]


def test_confusion_by_hand() -> None:
    counts = np.array([[299, 1, 0], [1, 2, 0], [0, 0, 0]])
    chart = confusion_chart(counts, ["a", "b", "<c>", "d"], [1, 3, 4], 2)
    wrong_third, right_two_thirds = int(GRADES * (1 / 3) ** 0.5), GRADES + int(GRADES * (2 / 3) ** 0.5)
    assert chart.places.tolist() == [
        [2 * GRADES - 1, 0, EMPTY, EMPTY],
        [wrong_third, right_two_thirds, EMPTY, EMPTY],
        [EMPTY] * 4,  # a class without an image
        [EMPTY] * 4,  # one that step 2 has not seen
    ]
    assert [(row, column, text) for row, column, _, text in chart.cells] == [
        (0, 0, "100"),
        (0, 1, "<1"),
        (1, 0, "33"),
        (1, 1, "67"),
    ]
    assert chart.edges == [1, 3] and chart.title.startswith("Confusion after step 2")
    assert [grade_share(share / 100) for share in (0.01, 1, 10, 40, 100)] == [0, 1, 5, 10, GRADES - 1]


@pytest.mark.parametrize("count", [MOST_WRITTEN, MOST_WRITTEN + 1])
def test_cells_of_large_matrices_hold_no_numbers(count: int) -> None:
    large = confusion_chart(np.eye(count, dtype=np.int64), ["x"] * count, [count], 1)
    steps = make_steps([[50.0] * k for k in range(1, count + 1)], [1] * count)
    for chart in (large, forgetting_chart(steps, ["x"] * count)):
        assert (chart.texts is not None) == (not chart.large) == (count <= MOST_WRITTEN)


def test_a_cell_is_a_pixel_of_its_shade_and_an_empty_one_is_transparent() -> None:
    counts = np.array([[19, 1, 0], [0, 18, 2], [0, 0, 20]])
    chart = confusion_chart(counts, ["a", "b", "c"], [2, 3], 2)
    for scheme, uri in chart.pictures.items():
        pixels = decode(uri)
        np.testing.assert_array_equal(pixels[..., 3] == 0, counts == 0)
        for row, column, shade, _ in chart.cells:
            assert bytes(pixels[row, column, :3].tolist()) == bytes.fromhex(getattr(shade, scheme)[1:])


def test_numbers_and_errors_can_be_told_from_what_is_behind_them() -> None:
    for shade in (*CONFUSION, *LOSSES):
        assert min(contrast(shade.light, shade.light_text), contrast(shade.dark, shade.dark_text)) >= 4.5
    for scale in (WRONG, RIGHT):
        for page, colours in zip(in_style("page"), list(zip(*scale, strict=True))[:2], strict=True):
            contrasts = [contrast(colour, page) for colour in colours]
            assert contrasts == sorted(contrasts) and (scale is RIGHT or contrasts[0] >= 3)  # more is further
