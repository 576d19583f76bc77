"""The verdict and what it is compared to, by hand and against formulas of another kind."""

import math

import numpy as np
import pytest

from der.summary.series import summarise
from der.summary.uncertainty import Measured, sampling_error
from der.summary.verdict import Reference, Verdict, chance, compare, earlier, judge
from tests.summary.step_metrics import MATRIX, make_steps

STEPS = make_steps(MATRIX, [4, 2, 2])  # top-1 89, 78, 92 on 40, 60, 80 images
IMAGES = np.full(8, 10)  # of each class


def test_verdict_by_hand() -> None:
    verdict = judge(summarise(STEPS), STEPS, IMAGES)
    errors = [sampling_error(top1, images) for top1, images in ((89, 40), (78, 60), (92, 80))]
    assert verdict.average == (86.3333, pytest.approx(sum(errors) / 3))
    assert verdict.last == (92, errors[2])


def test_error_of_forgetting_is_of_the_classes_own_images() -> None:
    # Step 1's classes, 40 images, fell from 90 to 75; step 2's, 20 images, from 80 to 60.
    verdict = judge(summarise(STEPS), STEPS, IMAGES)
    squares = [
        sampling_error(90, 40) ** 2 + sampling_error(75, 40) ** 2,
        sampling_error(80, 20) ** 2 + sampling_error(60, 20) ** 2,
    ]
    assert verdict.forgetting == (17.5, pytest.approx(math.sqrt(sum(squares)) / 2))


def test_one_step_forgets_nothing() -> None:
    steps = make_steps([[90.0]], [4])
    assert judge(summarise(steps), steps, IMAGES[:4]).forgetting is None


def test_chance_by_hand() -> None:
    assert chance([2, 4]).average == pytest.approx((50 + 25) / 2)
    assert chance([2, 4]).last == 25


def test_comparison_has_the_errors_of_both_as_far_as_they_are_known() -> None:
    verdict = Verdict(Measured(90, 3), Measured(80, 4), None)
    known = compare(verdict, Reference("a", "b", 88, 85, 4, 3))
    assert known.average == (2, 5) and known.last == (-5, 5)
    unknown = compare(verdict, Reference("a", "b", 88, 85))
    assert unknown.average == (2, 3) and unknown.last == (-5, 4)


def test_an_earlier_run_has_errors_if_it_counts_its_images() -> None:
    summary = summarise(STEPS)
    reference = earlier("before", "a commit", summary)
    assert (reference.average, reference.last) == (86.3333, 92)
    assert reference.last_error == sampling_error(92, 80) and reference.is_earlier
    for step in summary["steps"].values():
        del step["test_images"]  # type: ignore[misc]
    older = earlier("before", "a commit", summary)
    assert older.average_error is None and older.last_error is None
