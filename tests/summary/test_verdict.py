"""What a run comes to, beside references and other runs: by hand and against formulas of another kind."""

import math
import random
from typing import Any

import numpy as np
import pytest

from der.summary.series import Summary, accuracy_matrix, summarise
from der.summary.verdict import (
    METRICS,
    Measured,
    Reference,
    Spread,
    SweepRun,
    chance,
    compare,
    describe_changes,
    earlier,
    judge,
    sampling_error,
    spread,
    summarise_runs,
)
from tests.summary.step_metrics import MATRIX, make_steps

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


def test_chance_by_hand() -> None:
    assert chance([2, 4]).average == (pytest.approx((50 + 25) / 2), None)
    assert chance([2, 4]).last == (25, None)


def test_comparison_has_the_errors_of_both_as_far_as_they_are_known() -> None:
    own = judge(SUMMARY)
    assert own.average.error is not None and own.last.error is not None
    known = compare(SUMMARY, Reference("a", "b", Measured(88, 4), Measured(85, 3)))
    assert known[0] == pytest.approx((86.3333 - 88, math.hypot(own.average.error, 4)))
    assert known[1] == pytest.approx((7, math.hypot(own.last.error, 3)))
    unmeasured = Reference("a", "b", Measured(88), Measured(85))
    unknown = compare(SUMMARY, unmeasured)
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


def before(**changes: Any) -> Summary:
    return {**SUMMARY, **changes}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("old", "lines"),
    [
        ({}, []),
        ({"average_top1": 84.8333}, ["average top-1 from 84.83 to 86.33, +1.50 points"]),
        ({"average_top1": 86.3343}, ["average top-1 from 86.3343 to 86.3333, -0.0010 points"]),
        ({"forgetting": None}, ["forgetting from none to 17.50"]),
        ({"mean_parameters": 1234567.4}, ["mean parameters from 1,234,567 to 927,008"]),
    ],
)
def test_a_measure_that_moved(old: dict[str, Any], lines: list[str]) -> None:
    assert describe_changes(before(**old), SUMMARY) == lines


def test_every_measure_has_a_name() -> None:
    old = {key: 1.0 for key in SUMMARY if key not in ("steps", "mean_parameters")}
    lines = describe_changes(before(**old), SUMMARY)
    assert len(lines) == len(old) and all(" from 1.00 to " in line for line in lines)


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ({"2": {"top1": 79.0}}, ["top-1 after step 2 from 79.00 to 78.00, -1.00 points"]),
        (
            {"1": {"top1": 88.5}, "2": {"top1": 79.0}},
            ["top-1 at 2 of 3 steps, most at step 2 from 79.00 to 78.00, -1.00 points"],
        ),
        (  # accuracies of other classes are not compared
            {"1": {"top1": 1.0}, "2": {"top1": 1.0, "classes": 5}},
            ["6 instead of 5 classes after step 2", "top-1 after step 1 from 1.00 to 89.00, +88.00 points"],
        ),
    ],
)
def test_steps_that_changed(changed: dict[str, dict[str, float]], lines: list[str]) -> None:
    steps = {name: {**step, **changed.get(name, {})} for name, step in SUMMARY["steps"].items()}
    assert describe_changes(before(steps=steps), SUMMARY) == lines


def test_steps_are_the_same_by_their_number_however_it_is_written() -> None:
    nine, ten = (summarise(make_steps([[50.0] * step for step in range(1, n + 1)], [2] * n)) for n in (9, 10))
    ten["steps"]["03"]["top1"] -= 2.0
    first, *_, line = [line for line in describe_changes(nine, ten) if "step" in line]
    assert first == "10 steps instead of 9"
    assert line == "top-1 after step 3 from 47.00 to 45.00, -2.00 points"


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
