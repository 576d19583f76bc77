"""The summary, its tables and the logs it reads, against tables made by hand."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from der.summary.series import (
    accuracy_matrix,
    forgetting,
    read_logs,
    results_table,
    show_number,
    show_share,
    summarise,
    write_tables,
)
from der.train.log import EpochRecord, write_log
from tests.summary.step_metrics import MATRIX, make_steps

LOG_HEAD = "phase,epoch,learning_rate,loss,auxiliary_loss,accuracy\n"


def test_accuracy_matrix_and_forgetting_by_hand() -> None:
    nan = np.nan
    matrix = accuracy_matrix(make_steps(MATRIX, [2, 2, 2]))
    np.testing.assert_array_equal(matrix, [[90, nan, nan], [70, 80, nan], [75, 60, 95]])
    # Step 1's classes fell from 90 to 75, step 2's from 80 to 60; the last step's do not count.
    assert forgetting(matrix) == 17.5
    # Accuracy rose at the last step: negative, where a maximum over all steps would give 0.
    assert forgetting(np.array([[50.0, nan], [60.0, 90.0]])) == -10.0
    assert forgetting(np.array([[50.0]])) is None


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


def test_eleven_steps_are_in_order_as_text_and_numbered_without_zeros() -> None:
    summary = summarise(make_steps([[50.0] * (step + 1) for step in range(11)], [1] * 11))
    assert list(summary["steps"]) == sorted(summary["steps"])
    lines = results_table(summary).splitlines()
    assert [line.split()[0] for line in lines[2:13]] == [str(step) for step in range(1, 12)]


def test_results_table() -> None:
    assert results_table(summarise(make_steps(MATRIX[:2], [4, 2]))).splitlines() == [
        "step  classes  top-1   top-5    old    new    NME  parameters  exemplars",
        "----  -------  -----  ------  -----  -----  -----  ----------  ---------",
        "   1        4  89.00  100.00      -  90.00  88.00     463,504        200",
        "   2        6  78.00  100.00  70.00  80.00  76.00     927,008        200",
        "----  -------  -----  ------  -----  -----  -----  ----------  ---------",
        "mean           83.50  100.00      -      -  82.00",
        "",
        "Accuracies in percent; NME is top-1 by nearest mean of exemplars.",
        "Average incremental accuracy: 83.50",
        "Last accuracy: 78.00",
        "Forgetting, in points: 20.00",
    ]


def test_tables_are_written_to_the_last_digit_and_have_no_empty_cells(tmp_path: Path) -> None:
    """`dvc plots` draws an empty cell as zero."""
    steps = make_steps([[90.0], [70.1234, 80.0]], [4, 2])
    log = [EpochRecord("representation", 1, 0.1, 3.3 / 10**6, float("nan"), 51.0)]
    write_tables(tmp_path, summarise(steps), accuracy_matrix(steps), [log])
    assert {path.name: path.read_bytes().decode() for path in tmp_path.iterdir()} == {
        "accuracy.csv": "step,classes,top1,top5,old,new,nme_top1\n"
        "1,4,89.0,100.0,NaN,90.0,88.0\n2,6,78.0,100.0,70.1234,80.0,76.0\n",
        "accuracy_matrix.csv": "after_step,step_1,step_2\n1,90.0,NaN\n2,70.1234,80.0\n",
        "training.csv": f"step,{LOG_HEAD}1,representation,1,0.1,{3.3 / 10**6!r},NaN,51.0\n",
    }


def test_logs_are_read_to_the_last_digit(tmp_path: Path) -> None:
    log = [
        EpochRecord(phase, epoch, 0.1**epoch, 1 / 3, 2e-30 / epoch, 100 * epoch / 7)
        for phase in ("representation", "classifier")
        for epoch in (1, 2)
    ]
    write_log(tmp_path / "1", log)
    assert read_logs([tmp_path / "1"]) == [log]


def test_halves_of_counts_are_rounded_up() -> None:
    shares = {(1, 8, 0): "13", (3, 8, 0): "38", (1, 200, 0): "1", (1, 16, 1): "6.3", (7, 7, 1): "100.0"}
    assert {one: show_share(*one) for one in shares} == shares


@given(st.integers(1, 10**6), st.floats(0, 1), st.sampled_from([0, 1, 2]))
def test_a_share_is_the_nearest_number(of: int, share: float, decimals: int) -> None:
    count = int(share * of)
    away = Fraction(show_share(count, of, decimals)) - Fraction(100 * count, of)
    assert -Fraction(1, 2) < away * 10**decimals <= Fraction(1, 2)


def test_numbers_are_rounded_as_what_they_are_in_binary() -> None:
    numbers = {6.25: "6.3", 0.05: "0.1", 0.15: "0.1", 97.2145: "97.2"}
    assert {value: show_number(value, 1) for value in numbers} == numbers
