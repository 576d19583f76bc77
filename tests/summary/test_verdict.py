"""The verdict and what it is compared to, by hand and against formulas of another kind."""

import math

import numpy as np
import pytest

from der.summary.series import Summary, accuracy_matrix, summarise
from der.summary.uncertainty import NORMAL, sampling_error
from der.summary.verdict import Reference, chance, compare, earlier, forgetting_error, judge
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


def test_error_of_forgetting_against_simulated_samples() -> None:
    rng = np.random.default_rng(0)
    before, after, images = np.array([90, 80, 85, 75]), np.array([70, 60, 80, 50]), [400, 50, 50, 50]
    best, last = (100 * rng.binomial(images, one / 100, (4000, 4)) / images for one in (before, after))
    spread = NORMAL * np.std((best - last).mean(axis=1))
    matrix = np.full((5, 5), np.nan)
    matrix[3, :4], matrix[4, :4] = before, after
    rows = {str(step): {"test_images": 350 + 50 * step, "old": 68.0} for step in range(1, 6)}
    for known, near in ((matrix, 0.06), (None, 0.1)):  # the means say nearly the same
        error = forgetting_error({"forgetting": 17.5, "steps": rows}, known)  # type: ignore[typeddict-item]
        assert error == pytest.approx(spread, rel=near)


def test_one_step_forgets_nothing() -> None:
    steps = make_steps([[90.0]], [4])
    assert judge(summarise(steps)).forgetting is None


def test_chance_by_hand() -> None:
    assert chance([2, 4]).average == pytest.approx((50 + 25) / 2)
    assert chance([2, 4]).last == 25


def test_comparison_has_the_errors_of_both_as_far_as_they_are_known() -> None:
    own = judge(SUMMARY)
    assert own.average.error is not None and own.last.error is not None
    known = compare(SUMMARY, Reference("a", "b", 88, 85, 4, 3))
    assert known.average == pytest.approx((86.3333 - 88, math.hypot(own.average.error, 4)))
    assert known.last == pytest.approx((7, math.hypot(own.last.error, 3)))
    unknown = compare(SUMMARY, Reference("a", "b", 88, 85))
    assert unknown.average == pytest.approx((86.3333 - 88, own.average.error))
    older = older_summary()
    assert compare(older, Reference("a", "b", 88, 85)).last == (7, None)


def test_what_is_of_the_first_steps_is_compared_to_these() -> None:
    compared = compare(SUMMARY, Reference("a", "b", 80, 70, steps=2))
    errors = [sampling_error(89, 40), sampling_error(78, 60)]
    assert compared.average == (3.5, pytest.approx(sum(errors) / 2)) and compared.last == (8, errors[1])


def older_summary() -> Summary:
    """One that does not count its images."""
    summary = summarise(STEPS)
    for step in summary["steps"].values():
        del step["test_images"]  # type: ignore[misc]
    return summary


def test_an_earlier_run_has_errors_if_it_counts_its_images() -> None:
    reference = earlier("before", "a commit", SUMMARY)
    assert (reference.average, reference.last, reference.steps) == (86.3333, 92, None)
    assert reference.last_error == sampling_error(92, 80) and reference.is_earlier
    older = earlier("before", "a commit", older_summary())
    assert older.average_error is None and older.last_error is None
    part = earlier("before", "a commit", SUMMARY, 2)
    assert (part.average, part.last, part.last_error) == (83.5, 78, sampling_error(78, 60))
