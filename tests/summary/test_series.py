"""The summary and its tables; what a run comes to, beside references and others: by hand and by formulas."""

import math
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
from der.summary.verdict import (
    BINS,
    METRICS,
    NORMAL,
    Measured,
    Reference,
    Spread,
    SweepRun,
    baselines,
    compare,
    earlier,
    expected_calibration_error,
    judge,
    reliability,
    sampling_error,
    spread,
    summarise_runs,
    wilson,
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


STEPS = make_steps(MATRIX, [4, 2, 2])  # top-1 89, 78, 92 on 40, 60, 80 images
SUMMARY = summarise(STEPS)


def test_verdict_by_hand() -> None:
    verdict = judge(SUMMARY)
    errors = [sampling_error(top1, images) for top1, images in ((89, 40), (78, 60), (92, 80))]
    assert verdict.average == (86.3333, pytest.approx(sum(errors) / 3))
    assert verdict.last == (92, errors[2])


def test_error_of_forgetting_is_of_the_classes_own_images() -> None:
    # Step 1's classes, 40 images, fell from 90 to 75; step 2's, 20 images, from 80 to 60.
    verdict = judge(SUMMARY, accuracy_matrix(STEPS))
    squares = [
        sampling_error(90, 40) ** 2 + sampling_error(75, 40) ** 2,
        sampling_error(80, 20) ** 2 + sampling_error(60, 20) ** 2,
    ]
    assert verdict.forgetting == (17.5, pytest.approx(math.sqrt(sum(squares)) / 2))
    # The summary alone: the old classes' mean is 75, and 17.5 points more before.
    squares = [sampling_error(92.5, count) ** 2 + sampling_error(75, count) ** 2 for count in (40, 20)]
    assert judge(SUMMARY).forgetting == (17.5, pytest.approx(math.sqrt(sum(squares)) / 2))


def test_baselines_by_hand() -> None:
    chance, largest, nearest = baselines([np.array([3, 1]), np.array([3, 1, 2])], [70.0, 60.0])
    assert (chance.average.value, chance.last.value) == (pytest.approx((50 + 100 / 3) / 2), 100 / 3)
    assert (largest.average.value, largest.last.value) == (pytest.approx((75 + 50) / 2), 50)
    assert (nearest.average.value, nearest.last.value) == (65, 60)
    assert [one.name for one in baselines([np.array([2, 2])], [1.0])] == ["chance", "nearest mean"]
    frozen = baselines([np.array([2, 2])] * 2, [1.0, 1.0], [80.0, 70.0])[-1]
    assert (frozen.name, frozen.average.value, frozen.last.value) == ("frozen", 75, 70)


def test_comparison_has_the_errors_of_both_as_far_as_they_are_known() -> None:
    own = judge(SUMMARY)
    assert own.average.error is not None and own.last.error is not None
    known = compare(SUMMARY, Reference("a", "b", Measured(88, 4), Measured(85, 3)))
    assert known[0] == pytest.approx((86.3333 - 88, math.hypot(own.average.error, 4)))
    assert known[1] == pytest.approx((7, math.hypot(own.last.error, 3)))
    unknown = compare(SUMMARY, Reference("a", "b", Measured(88), Measured(85)))
    assert unknown[0] == pytest.approx((86.3333 - 88, own.average.error))
    part = compare(SUMMARY, Reference("a", "b", Measured(80), Measured(70), steps=2))  # over these alone
    errors = [sampling_error(89, 40), sampling_error(78, 60)]
    assert part == ((3.5, pytest.approx(sum(errors) / 2)), (8, errors[1]))


def test_an_earlier_run_has_errors() -> None:
    reference = earlier("before", "a commit", SUMMARY)
    assert (reference.average.value, reference.steps, reference.is_earlier) == (86.3333, None, True)
    assert reference.last == (92, sampling_error(92, 80))
    part = earlier("before", "a commit", SUMMARY, 2)
    assert (part.average.value, part.last) == (83.5, (78, sampling_error(78, 60)))


def sweep_run(seed: int, average: float | None, **setting: Any) -> SweepRun:
    return SweepRun(setting, {"train.seed": seed}, dict.fromkeys(METRICS, average))


def test_mean_and_sample_deviation() -> None:
    draw = random.Random(0)
    for count in range(2, 9):
        values = [draw.uniform(0, 100) for _ in range(count)]
        assert spread(values) == pytest.approx((np.mean(values), np.std(values, ddof=1)), rel=1e-12)
    assert spread([71.5]) == Spread(71.5, None)
    assert spread([None]) == spread([1.0, None, 2.0]) == Spread(None, None)


def test_runs_of_a_setting_share_a_row_and_one_made_twice_counts_once() -> None:
    runs = [sweep_run(seed, seed + one, budget=one) for seed in (1, 2, 3) for one in (200, 50, 1000)]
    random.Random(0).shuffle(runs)
    rows = summarise_runs([*runs, runs[0]])
    assert [(row.setting, row.runs) for row in rows] == [({"budget": one}, 3) for one in (50, 200, 1000)]
    for row in rows:
        assert row.metrics == dict.fromkeys(METRICS, (row.setting["budget"] + 2, 1.0))


def test_settings_of_any_kind_are_told_apart() -> None:
    values = [None, "herding", [["a"], ["b"]], [["a", "b"]], 0.5, 2, True]
    rows = summarise_runs([sweep_run(0, 1.0, value=value) for value in values])
    assert [row.runs for row in rows] == [1] * len(values)
    assert [row.setting["value"] for row in rows][:3] == [0.5, True, 2]


def test_interval_by_hand() -> None:
    low, high = wilson(97.2145, 359)  # 349 of 359, from a table of Wilson intervals
    assert (round(low, 2), round(high, 2)) == (94.95, 98.48)
    assert sampling_error(97.2145, 359) == pytest.approx((high - low) / 2)


@pytest.mark.parametrize(("right", "images"), [(349, 359), (0, 20), (20, 20), (1, 1), (6500, 10000)])
def test_ends_of_the_interval_solve_wilsons_equation(right: int, images: int) -> None:
    """The ends are the shares p from which the measured one is 1.96 sqrt(p (1 - p) / n) away."""
    share = right / images
    for end in wilson(100 * share, images):
        p = end / 100
        if 0 < p < 1:
            assert abs(share - p) == pytest.approx(NORMAL * math.sqrt(p * (1 - p) / images), rel=1e-9)


def test_bins_and_error_match_the_definition() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1, 500).astype(np.float32)
    confidence[0] = 1  # certainty is in the last bin
    right = rng.uniform(size=500) < confidence**2
    expected = 0.0
    bins = iter(reliability(confidence, right))
    for place in range(BINS):
        inside = [i for i in range(500) if place / BINS < float(confidence[i]) <= (place + 1) / BINS]
        if inside:
            one = next(bins)
            accuracy = sum(right[i] for i in inside) / len(inside)
            mean = sum(float(confidence[i]) for i in inside) / len(inside)
            assert (one.images, one.accuracy) == (len(inside), pytest.approx(100 * accuracy))
            assert one.low < one.confidence <= one.high and one.confidence == pytest.approx(100 * mean)
            expected += len(inside) / 500 * abs(accuracy - mean)
    assert next(bins, None) is None
    ece = expected_calibration_error(reliability(confidence, right))
    assert ece.value == pytest.approx(100 * expected)
