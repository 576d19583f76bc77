"""Accuracy over classes, as it is described."""

import pytest

from der.summary.charts.accuracy import Curve, accuracy_chart
from der.summary.charts.limits import MOST_LISTED, MOST_MARKED
from der.summary.series import Summary, summarise
from tests.summary.step_metrics import MATRIX, make_steps


def long_summary(steps: int) -> Summary:
    return summarise(make_steps([[50.0] * step for step in range(1, steps + 1)], [2] * steps))


def test_lines_hold_the_summary() -> None:
    summary = summarise(make_steps(MATRIX, [4, 2, 2]))
    chart = accuracy_chart(summary)
    (panel,) = chart.panels
    values = {line.name: line.y for line in panel.lines}
    assert values["top-1"] == (89, 78, 92)
    assert values["top-1, old classes"] == (None, 70, 75)
    assert values["top-1, nearest mean of exemplars"] == (88, 76, 89)
    assert all(line.x == (4, 6, 8) == chart.axis.ticks for line in panel.lines)
    assert chart.title == "Average incremental accuracy 86.33 %, last 92.00 %"


def test_a_measure_that_never_exists_has_no_line() -> None:
    (panel,) = accuracy_chart(long_summary(1)).panels
    assert "top-1, old classes" not in {line.name for line in panel.lines}


def test_every_line_looks_different() -> None:
    published = [Curve(f"preset {index}", "A paper", [10, 20], [90.0, 80.0]) for index in range(3)]
    (panel,) = accuracy_chart(long_summary(3), published).panels
    for part in ("name", "colour"):
        assert len({getattr(line, part) for line in panel.lines}) == len(panel.lines)
    measured = [line for line in panel.lines if not line.name.startswith("published: ")]
    assert len({line.dashes for line in measured} | {panel.lines[-1].dashes}) == len(measured) + 1


@pytest.mark.parametrize(("lowest", "floor"), [(99.5, 90), (90.9, 80), (91.0, 90), (3.0, 0), (0.0, 0)])
def test_the_axis_begins_below_the_lowest_of_all_curves(lowest: float, floor: float) -> None:
    curve = Curve("low", "A paper", [4, 8], [lowest, 99.9])
    summary = summarise(make_steps([[100.0]], [4]))
    high = {key: {**step, "top1": 100.0, "nme_top1": 100.0} for key, step in summary["steps"].items()}
    (panel,) = accuracy_chart({**summary, "steps": high}, [curve]).panels  # type: ignore[typeddict-item]
    assert panel.axis.low == floor
    assert panel.axis.high is not None and panel.axis.high > 100


def test_many_steps_have_neither_markers_nor_a_tick_each() -> None:
    for steps in (1, MOST_LISTED, MOST_LISTED + 1, MOST_MARKED, MOST_MARKED + 1):
        chart = accuracy_chart(long_summary(steps))
        assert (chart.axis.ticks is None) == (steps > MOST_LISTED)
        for line in chart.panels[0].lines:
            assert (line.marker is None) == (steps > MOST_MARKED)


def test_equal_numbers_give_equal_charts() -> None:
    summary = long_summary(2)
    assert accuracy_chart(summary) == accuracy_chart(long_summary(2))
    assert accuracy_chart(summary) != accuracy_chart({**summary, "average_top1": 1.0})
