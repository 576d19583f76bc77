"""The accuracy matrix and the confusion matrix, as they are described."""

import numpy as np
import pytest

from der.summary.charts.confusion import confusion_chart
from der.summary.charts.forgetting import accuracy_matrix_chart
from der.summary.charts.limits import MOST_WRITTEN
from tests.summary.step_metrics import MATRIX, make_steps


def test_accuracy_matrix_by_hand() -> None:
    chart = accuracy_matrix_chart(make_steps(MATRIX, [2, 2, 2]))
    assert chart.values == ((90, None, None), (70, 80, None), (75, 60, 95))
    assert chart.texts == (("90.0", "", ""), ("70.0", "80.0", ""), ("75.0", "60.0", "95.0"))
    assert chart.rows.names == chart.columns.names == ("1", "2", "3")


def test_confusion_by_hand() -> None:
    counts = np.array([[299, 1, 0], [1, 2, 0], [0, 0, 0]])
    chart = confusion_chart(counts, ["a", "b", "<c>"], [1, 3])
    assert chart.values[1] == pytest.approx((100 / 3, 200 / 3, 0))
    assert chart.values[2] == (0, 0, 0)  # a class without an image
    assert chart.texts == (("100", "<1", ""), ("33", "67", ""), ("", "", ""))
    assert chart.counts is not None and chart.counts.numbers == ((299, 1, 0), (1, 2, 0), (0, 0, 0))
    assert chart.rows.names == chart.columns.names == ("a", "b", "<c>")
    assert chart.rows.edges == chart.columns.edges == (0.5,)
    assert chart.title == "Confusion after step 2"


def test_cells_of_large_matrices_hold_no_numbers() -> None:
    for count in (MOST_WRITTEN, MOST_WRITTEN + 1):
        few = count <= MOST_WRITTEN
        confusion = confusion_chart(np.eye(count, dtype=np.int64), ["x"] * count, [count])
        accuracy = accuracy_matrix_chart(make_steps([[50.0] * k for k in range(1, count + 1)], [1] * count))
        assert (confusion.texts is not None) == (accuracy.texts is not None) == few


def test_only_so_many_steps_are_parted_by_lines() -> None:
    for steps in (1, MOST_WRITTEN, MOST_WRITTEN + 1):
        sizes = list(range(2, 2 * steps + 1, 2))
        chart = confusion_chart(np.eye(2 * steps, dtype=np.int64), ["x"] * 2 * steps, sizes)
        expected = [size - 0.5 for size in sizes[:-1]] if steps <= MOST_WRITTEN else []
        assert list(chart.rows.edges) == expected
