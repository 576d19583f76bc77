"""Training curves, as they are described."""

import pytest

from der.summary.charts.limits import MOST_LISTED
from der.summary.charts.training import round_values, training_chart
from der.train.log import EpochRecord


def make_log(phases: list[str], epochs: int = 3, loss: float = 1.0) -> list[EpochRecord]:
    return [
        EpochRecord(phase, epoch, 0.1, loss / epoch, 0.0, 50.0 + epoch)
        for phase in phases
        for epoch in range(1, epochs + 1)
    ]


def test_every_phase_of_every_step_has_a_line_in_each_panel() -> None:
    logs = [make_log(["representation"]), make_log(["representation", "classifier"], loss=2.0)]
    chart = training_chart(logs)
    loss, accuracy = chart.panels
    assert [line.group for line in loss.lines] == [line.group for line in accuracy.lines] == [1, 2, 2]
    assert [line.name for line in loss.lines] == ["step 1", "step 2", "step 2, classifier"]
    assert [line.in_legend for line in loss.lines] == [True, True, False]
    assert not any(line.in_legend for line in accuracy.lines)
    assert loss.lines[2].x == (1, 2, 3) and loss.lines[2].y == (2, 1, 2 / 3)
    assert accuracy.lines[0].y == (51, 52, 53)
    assert loss.lines[1].colour == loss.lines[2].colour != loss.lines[0].colour
    assert loss.lines[0].dashes == loss.lines[1].dashes != loss.lines[2].dashes
    assert chart.note == "solid: representation, dashed: classifier"


def test_one_phase_needs_no_note() -> None:
    assert training_chart([make_log(["representation"])]).note == ""


def test_many_steps_have_a_colour_key_in_place_of_a_legend() -> None:
    for steps in (MOST_LISTED, MOST_LISTED + 1):
        chart = training_chart([make_log(["representation"])] * steps)
        listed = any(line.in_legend for line in chart.panels[0].lines)
        assert listed == (chart.key is None) == (steps <= MOST_LISTED)
        if chart.key is not None:
            assert chart.key.colours == tuple(line.colour for line in chart.panels[0].lines)


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
