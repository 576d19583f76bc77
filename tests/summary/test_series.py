"""Measures over steps against hand-made tables."""

import numpy as np
import pytest

from der.summary.series import accuracy_matrix, forgetting, summarise
from tests.summary.step_metrics import MATRIX, make_steps


def test_accuracy_matrix_is_lower_triangular() -> None:
    nan = np.nan
    expected = [[90, nan, nan], [70, 80, nan], [75, 60, 95]]
    np.testing.assert_array_equal(accuracy_matrix(make_steps(MATRIX, [2, 2, 2])), expected)


def test_forgetting_by_hand() -> None:
    # Step 1's classes fell from 90 to 75, step 2's from 80 to 60; the last step's do not count.
    assert forgetting(accuracy_matrix(make_steps(MATRIX, [2, 2, 2]))) == 17.5


def test_forgetting_leaves_the_last_step_out_of_the_best() -> None:
    # Accuracy rose at the last step: negative, where a maximum over all steps would give 0.
    assert forgetting(np.array([[50.0, np.nan], [60.0, 90.0]])) == -10.0


def test_forgetting_needs_two_steps() -> None:
    assert forgetting(np.array([[50.0]])) is None


def test_forgetting_matches_loops() -> None:
    rng = np.random.default_rng(3)
    count = 9
    matrix = np.where(np.tri(count, dtype=bool), rng.uniform(0, 100, (count, count)), np.nan)
    drops = []
    for i in range(count - 1):
        best = max(matrix[k, i] for k in range(i, count - 1))
        drops.append(best - matrix[count - 1, i])
    assert forgetting(matrix) == pytest.approx(sum(drops) / (count - 1), abs=5e-5)


def test_summary_by_hand() -> None:
    summary = summarise(make_steps(MATRIX, [4, 2, 2]))
    assert {key: value for key, value in summary.items() if key != "steps"} == {
        "average_top1": 86.3333,  # of 89, 78, 92
        "average_top5": 100.0,
        "last_top1": 92.0,
        "last_top5": 100.0,
        "average_nme_top1": 84.3333,  # of 88, 76, 89
        "forgetting": 17.5,
        "mean_parameters": 927008.0,
    }
    assert list(summary["steps"]) == ["1", "2", "3"]
    assert summary["steps"]["2"] == {
        "classes": 6,
        "test_images": 60,
        "top1": 78.0,
        "top5": 100.0,
        "old": 70.0,
        "new": 80.0,
        "nme_top1": 76.0,
        "parameters": 927008,
        "parameters_trained": 463504,
        "memory_images": 200,
        "gamma": 0.1235,
    }


def test_keys_of_steps_are_in_order_as_text_too() -> None:
    matrix = [[50.0] * (step + 1) for step in range(11)]
    steps = summarise(make_steps(matrix, [1] * 11))["steps"]
    assert list(steps) == sorted(steps)
    assert [int(key) for key in steps] == list(range(1, 12))


def test_steps_must_count_from_one() -> None:
    with pytest.raises(AssertionError):
        summarise(make_steps(MATRIX, [2, 2, 2])[1:])
