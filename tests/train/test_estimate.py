"""Time that is left, by a clock that the test moves."""

import pytest

from der.core.work_clock import waiting
from der.train.estimate import Estimate
from der.train.log import FROZEN, PhaseWork, RunWork
from tests.train.hand import Hand


def run_epochs(estimate: Estimate, hand: Hand, epochs: int, seconds: float, images: int = 100) -> None:
    for _ in range(epochs):
        for _ in range(4):
            estimate.add_images(images // 4)
            hand.now += seconds / 4
        estimate.end_epoch()


WORK = [PhaseWork("representation", 10, 100, 1.0), PhaseWork("classifier", 4, 50, 0.5)]


def test_nothing_is_known_before_the_first_batch(hand: Hand) -> None:
    estimate = Estimate(RunWork())
    estimate.plan(WORK)
    estimate.start_phase("representation", 10, 100)
    hand.now += 5
    assert estimate.rate() is None and estimate.step_left() is None and estimate.run_left() is None
    assert (estimate.epochs_done, estimate.epochs, estimate.share()) == (0, 14, 0.0)


def test_a_steady_step_tells_its_end(hand: Hand) -> None:
    later = ([PhaseWork("representation", 10, 100, 1.3)], [PhaseWork("representation", 10, 200, 1.6)])
    estimate = Estimate(RunWork(epochs_before=7, later=later))
    estimate.plan(WORK)
    estimate.start_phase("representation", 10, 100)
    run_epochs(estimate, hand, 4, 2.0)  # 50 images a second
    assert estimate.rate() == pytest.approx(50)
    assert estimate.step_left() == pytest.approx(6 * 2 + 4 * 50 * 0.5 / 50)
    assert estimate.run_left() == pytest.approx(14 + 10 * 100 * 1.3 / 50 + 10 * 200 * 1.6 / 50)
    assert (estimate.epochs_done, estimate.run_epochs) == (4, 7 + 14 + 20)
    assert estimate.share() == pytest.approx(400 / 1100)
    estimate.add_images(50)
    hand.now += 1.0
    assert estimate.step_left() == pytest.approx(5 * 2 + 1 + 2)


def test_the_wait_for_another_run_s_turn_is_no_slowness(hand: Hand) -> None:
    estimate = Estimate(RunWork())
    estimate.plan(WORK)
    estimate.start_phase("representation", 10, 100)
    with waiting():
        hand.now += 600
    run_epochs(estimate, hand, 1, 2.0)
    assert estimate.rate() == pytest.approx(50)


def test_the_newest_epochs_count(hand: Hand) -> None:
    estimate = Estimate(RunWork())
    estimate.plan(WORK)
    estimate.start_phase("representation", 10, 100)
    run_epochs(estimate, hand, 1, 60.0)  # a slow start
    run_epochs(estimate, hand, 5, 1.0)
    assert estimate.rate() == pytest.approx(100)


def test_a_new_phase_has_a_speed_of_its_own(hand: Hand) -> None:
    estimate = Estimate(RunWork())
    estimate.plan(WORK)
    estimate.start_phase("representation", 10, 100)
    run_epochs(estimate, hand, 10, 2.0)
    estimate.start_phase("classifier", 4, 50)
    assert estimate.epochs_done == 10 and estimate.share() == pytest.approx(1000 / 1100)
    run_epochs(estimate, hand, 1, 0.2, images=52)
    assert estimate.step_left() == pytest.approx(3 * 0.2)
    run_epochs(estimate, hand, 3, 0.2, images=52)
    assert estimate.step_left() == 0 and estimate.share() == 1


def test_a_resumed_phase_counts_what_was_done_but_not_as_speed(hand: Hand) -> None:
    estimate = Estimate(RunWork())
    estimate.plan(WORK)
    estimate.start_phase("representation", 10, 100)
    hand.now += 100  # the state is read
    estimate.resume(8)
    run_epochs(estimate, hand, 1, 2.0)
    assert estimate.epochs_done == 9 and estimate.rate() == pytest.approx(50)
    assert estimate.step_left() == pytest.approx(2 + 2)


def test_phases_that_were_not_planned(hand: Hand) -> None:
    estimate = Estimate(RunWork())
    estimate.plan(WORK[:1])
    estimate.start_phase("representation", 10, 100)
    run_epochs(estimate, hand, 10, 1.0)
    estimate.start_phase("own", 2, 100)
    assert estimate.work[1] == PhaseWork("own", 2, 100, FROZEN)
    run_epochs(estimate, hand, 1, 3.0)
    assert estimate.step_left() == pytest.approx(3.0)
    assert (estimate.epochs_done, estimate.epochs) == (11, 12)
