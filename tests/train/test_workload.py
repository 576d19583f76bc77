"""What a step costs, counted by hand, and the epochs after which it says how far it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from der.train.log import FROZEN, PhaseWork, milestones, plan_step
from tests.builders import classifier_settings, incremental_settings, phase_settings, train_settings

SETTINGS = train_settings(base=phase_settings(epochs=3), incremental=incremental_settings(epochs=5))


def test_the_first_step_is_one_extractor_over_its_images() -> None:
    (phase,) = plan_step(1, [10, 12], SETTINGS, expansion=True)
    assert phase == PhaseWork("representation", 3, 22, 1.0)
    assert phase.total == 66


def test_a_later_step_passes_all_images_through_the_frozen_extractors_too() -> None:
    (phase,) = plan_step(4, [2, 2, 9], SETTINGS, expansion=True)
    assert phase == PhaseWork("representation", 5, 13, 1 + 3 * FROZEN)
    assert plan_step(4, [2, 2, 9], SETTINGS, expansion=False) == [PhaseWork("representation", 5, 13, 1.0)]


def test_classifier_learning_is_a_phase_on_as_many_of_each_class() -> None:
    incremental = incremental_settings(
        rebalancing="classifier_learning", classifier=classifier_settings(epochs=7)
    )
    settings = train_settings(incremental=incremental)
    _, phase = plan_step(3, [4, 4, 9], settings, expansion=True)
    assert phase[:3] == ("classifier", 7, 12)
    assert phase.cost == pytest.approx(3 * FROZEN)
    assert len(plan_step(1, [4, 4], settings, expansion=True)) == 1


def work(*epochs: int) -> list[PhaseWork]:
    return [PhaseWork(str(number), count, 10, 1.0) for number, count in enumerate(epochs)]


def test_milestones_of_usual_steps() -> None:
    assert sorted(milestones(work(40))) == [1, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert sorted(milestones(work(3))) == [1, 2, 3]
    assert milestones(work(170, 30)) >= {1, 170, 200}


@given(st.lists(st.integers(1, 500), min_size=1, max_size=2))
def test_milestones_are_a_dozen_at_most_and_close_to_tenths(epochs: list[int]) -> None:
    total = sum(epochs)
    found = sorted(milestones(work(*epochs)))
    assert len(found) <= 12
    assert found[0] == 1 and found[-1] == total and epochs[0] in found
    assert all(b - a <= total / 10 + 1 for a, b in zip([0, *found], found, strict=False))
