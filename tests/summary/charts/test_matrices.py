"""The accuracy matrix and the confusion matrix, as they are described."""

import numpy as np
import pytest

from der.summary.charts import confusion, forgetting
from der.summary.charts.colours import GRADES
from der.summary.charts.confusion import confusion_chart
from der.summary.charts.forgetting import accuracy_matrix_chart, lost, name_cohorts, old_and_new_chart
from der.summary.charts.limits import MOST_WRITTEN
from der.summary.drawing.canvas import axis_names
from der.summary.series import summarise
from tests.summary.step_metrics import MATRIX, make_steps

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox"]


def test_accuracy_matrix_is_shaded_by_what_was_lost_since() -> None:
    steps = make_steps(MATRIX, [2, 2, 2])
    assert [[lost(steps, after, of) for of in range(3)] for after in range(3)] == [
        [0, None, None],
        [20, 0, None],
        [15, 20, 0],
    ]
    chart = accuracy_matrix_chart(steps, NAMES)
    unchanged = GRADES - 1
    assert chart.places == (
        (unchanged, None, None),
        (2 * GRADES - 2, unchanged, None),
        (unchanged + round(0.75 * (GRADES - 1)), 2 * GRADES - 2, unchanged),
    )
    assert chart.texts == (("90.0", "", ""), ("70.0", "80.0", ""), ("75.0", "60.0", "95.0"))
    assert chart.rows.names == chart.columns.names == ("1: ant, bee", "2: cat, dog", "3: eel, fox")


def test_what_was_gained_is_shaded_the_other_way() -> None:
    chart = accuracy_matrix_chart(make_steps([[50.0], [90.0, 80.0]], [2, 2]), NAMES[:4])
    assert chart.places == ((GRADES - 1, None), (0, GRADES - 1))
    assert len(forgetting.SHADES) == 2 * GRADES - 1


def test_the_scale_of_little_forgetting_is_not_stretched() -> None:
    chart = accuracy_matrix_chart(make_steps([[100.0], [99.0, 100.0]], [2, 2]), NAMES[:4])
    assert chart.places[1][0] == GRADES  # a point of twenty: the palest shade of all that is lost


def test_classes_of_a_step_are_named_by_all_or_by_first_and_last() -> None:
    names = ["0", "1", "2", "a very long name indeed", "b", "another long name"]
    assert name_cohorts(names, [3, 6]) == ["0, 1, 2", "a ver…deed … anoth…name"]


@pytest.mark.parametrize("names", [["x" * 99, "y" * 99], ["猫", "犬"]])
def test_axes_name_the_classes_of_a_step_in_full_or_the_step(names: list[str]) -> None:
    steps = make_steps([[50.0] * k for k in range(1, 101)], [2] * 100)
    rows = accuracy_matrix_chart(steps, names * 100).rows
    first, last = axis_names(rows)[0], axis_names(rows)[-1]
    assert (first, last) == ((rows.names[0], rows.names[-1]) if names[0] != "猫" else ("1", "100"))


def test_old_and_new_classes_have_a_line_each() -> None:
    (panel,) = old_and_new_chart(summarise(make_steps(MATRIX, [4, 2, 2]))).panels
    assert {line.name: line.y for line in panel.lines} == {
        "new classes": (90, 80, 95),
        "old classes": (None, 70, 75),
    }


def test_confusion_by_hand() -> None:
    counts = np.array([[299, 1, 0], [1, 2, 0], [0, 0, 0]])
    chart = confusion_chart(counts, ["a", "b", "<c>", "d"], [1, 3, 4], 2)
    wrong_third, right_two_thirds = int(GRADES * (1 / 3) ** 0.5), GRADES + int(GRADES * (2 / 3) ** 0.5)
    assert chart.places == (
        (2 * GRADES - 1, 0, None, None),
        (wrong_third, right_two_thirds, None, None),
        (None, None, None, None),  # a class without an image
        (None, None, None, None),  # one that step 2 has not seen
    )
    assert chart.texts == (("100", "<1", ""), ("33", "67", ""), ("", "", ""))
    assert chart.rows.names == chart.columns.names == ("a", "b", "<c>", "d")
    assert chart.rows.edges == chart.columns.edges == (0.5, 2.5)
    assert chart.title.startswith("Confusion after step 2")


def test_one_wrong_image_has_a_shade_and_more_have_another() -> None:
    shares = [0.01, 1, 10, 40, 100]
    grades = [confusion.grade(share, right=False) for share in shares]
    assert grades[0] == 0 and grades == sorted(set(grades), key=grades.index)
    assert grades[-1] == GRADES - 1 and confusion.grade(0, right=False) is None
    assert confusion.grade(100, right=True) == len(confusion.SHADES) - 1


@pytest.mark.parametrize("count", [MOST_WRITTEN, MOST_WRITTEN + 1])
def test_cells_of_large_matrices_hold_no_numbers(count: int) -> None:
    few = count <= MOST_WRITTEN
    large = confusion_chart(np.eye(count, dtype=np.int64), ["x"] * count, [count], 1)
    steps = make_steps([[50.0] * k for k in range(1, count + 1)], [1] * count)
    assert (large.texts is not None) == few
    assert (accuracy_matrix_chart(steps, ["x"] * count).texts is not None) == few
