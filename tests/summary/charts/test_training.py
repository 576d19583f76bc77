"""Training curves, as they are described."""

import pytest

from der.summary.charts.description import Line, Span
from der.summary.charts.training import round_values, training_chart
from der.train.log import EpochRecord


def make_log(
    phases: list[str], epochs: int = 3, loss: float = 1.0, auxiliary: float = 0.0
) -> list[EpochRecord]:
    return [
        EpochRecord(phase, epoch, 0.1, loss / epoch, auxiliary, 50.0 + epoch)
        for phase in phases
        for epoch in range(1, epochs + 1)
    ]


def points(line: Line) -> list[tuple[float, float]]:
    """What is drawn."""
    return [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None]


def test_steps_stand_side_by_side_with_a_line_for_each_phase() -> None:
    logs = [make_log(["representation"]), make_log(["representation", "classifier"], loss=2.0, auxiliary=0.5)]
    chart = training_chart(logs)
    loss, auxiliary, accuracy, rate = chart.panels
    assert [line.name for line in loss.lines] == ["representation", "classifier"]
    assert points(loss.lines[0]) == [(1, 1), (2, 1 / 2), (3, 1 / 3), (4, 2), (5, 1), (6, 2 / 3)]
    assert points(loss.lines[1]) == [(7, 2), (8, 1), (9, 2 / 3)]
    assert [x for x, _ in points(auxiliary.lines[0])] == [4, 5, 6]  # step 1 has no old classes
    assert points(accuracy.lines[1]) == [(7, 51), (8, 52), (9, 53)]
    assert points(rate.lines[0]) == [(epoch, 0.1) for epoch in range(1, 7)]
    assert chart.spans == (Span("step 1", 0.5, 3.5), Span("step 2", 3.5, 9.5))
    assert loss.lines[0].colour != loss.lines[1].colour


def test_a_line_is_broken_between_steps() -> None:
    (line,) = training_chart([make_log(["representation"])] * 2).panels[0].lines
    assert line.y[3] is None and None not in line.y[:3]


def test_without_old_classes_there_is_no_auxiliary_loss() -> None:
    for missing in (0.0, float("nan")):
        panels = training_chart([make_log(["representation"], auxiliary=missing)]).panels
        assert [panel.axis.label for panel in panels] == ["loss", "training top-1", "learning rate"]


def test_a_rate_that_falls_to_a_tenth_has_a_logarithmic_axis() -> None:
    log = [EpochRecord("representation", i, rate, 1.0, 0.0, 50.0) for i, rate in ((1, 0.1), (2, 0.1 * 0.1))]
    assert training_chart([log]).panels[-1].axis.logarithmic


@pytest.mark.parametrize(("losses", "logarithmic"), [((1, 0.09), True), ((1, 0.11), False), ((1, 0), False)])
def test_losses_of_over_a_decade_have_a_logarithmic_axis(
    losses: tuple[float, float], logarithmic: bool
) -> None:
    log = [EpochRecord("representation", i + 1, 0.1, loss, 0.0, 50.0) for i, loss in enumerate(losses)]
    axis = training_chart([log]).panels[0].axis
    assert axis.logarithmic == logarithmic == (axis.ticks is not None)


def test_round_values_by_hand() -> None:
    assert round_values(0.03, 2.5) == (0.05, 0.1, 0.2, 0.5, 1, 2)
    assert round_values(1e-6, 3) == (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1)
    assert round_values(0.1 * 0.1 * 0.1, 0.1) == (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
