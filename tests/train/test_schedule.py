"""Learning rates against hand-made tables."""

import pytest

from der.train.engine import learning_rate
from tests.builders import phase_settings


@pytest.mark.parametrize(
    ("first", "last", "rate"), [(0, 59, 0.1), (60, 119, 0.01), (120, 169, 0.001), (170, 200, 0.0001)]
)
def test_the_notebook(first: int, last: int, rate: float) -> None:
    settings = phase_settings(epochs=201, learning_rate=0.1, milestones=[60, 120, 170], decay=0.1)
    for epoch in range(first, last + 1):
        assert learning_rate(settings, epoch) == pytest.approx(rate, rel=1e-12)


def test_before_the_first_milestone_the_rate_is_exactly_the_one_set() -> None:
    assert learning_rate(phase_settings(learning_rate=0.1, milestones=[3]), 2) == 0.1


def test_without_milestones_the_rate_never_changes() -> None:
    settings = phase_settings(learning_rate=0.3, milestones=[])
    assert {learning_rate(settings, epoch) for epoch in range(300)} == {0.3}


def test_a_milestone_at_the_start_and_one_past_the_end() -> None:
    settings = phase_settings(epochs=4, learning_rate=1.0, milestones=[0, 2, 99], decay=0.5)
    assert [learning_rate(settings, epoch) for epoch in range(4)] == [0.5, 0.5, 0.25, 0.25]
