"""The results as text."""

from der.summary.series import summarise
from der.summary.text_table import results_table
from tests.summary.step_metrics import MATRIX, make_steps


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


def test_steps_are_numbered_without_zeros() -> None:
    matrix = [[50.0] * (step + 1) for step in range(11)]
    lines = results_table(summarise(make_steps(matrix, [1] * 11))).splitlines()
    assert [line.split()[0] for line in lines[2:13]] == [str(step) for step in range(1, 12)]
