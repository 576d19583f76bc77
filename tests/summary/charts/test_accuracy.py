"""Accuracy over classes, as it is described."""

import pytest

from der.summary.charts.accuracy import SMALL, Curve, accuracy_chart, percent_axis
from der.summary.charts.description import Line
from der.summary.charts.limits import MOST_LISTED, MOST_MARKED
from der.summary.series import Summary, summarise
from der.summary.uncertainty import wilson
from tests.summary.step_metrics import MATRIX, make_steps


def long_summary(steps: int) -> Summary:
    return summarise(make_steps([[50.0] * step for step in range(1, steps + 1)], [2] * steps))


def test_lines_hold_the_summary() -> None:
    summary = summarise(make_steps(MATRIX, [4, 2, 2]))
    chart = accuracy_chart(summary)
    (panel,) = chart.panels
    values = {line.name: line.y for line in panel.lines}
    assert values["this run"] == (89, 78, 92)
    assert values["this run, by nearest mean of exemplars"] == (88, 76, 89)
    assert all(line.x == (4, 6, 8) == chart.axis.ticks for line in panel.lines)
    assert chart.title == "Average incremental accuracy 86.33 %, last 92.00 %"


def test_the_band_is_wilsons_interval() -> None:
    summary = summarise(make_steps(MATRIX, [4, 2, 2]))
    measured, *others = accuracy_chart(summary, joint=95.0).panels[0].lines
    assert measured.band is not None and all(line.band is None for line in others)
    steps = list(summary["steps"].values())
    expected = [wilson(step["top1"], step["test_images"]) for step in steps]
    assert list(zip(*measured.band, strict=True)) == [tuple(one) for one in expected]


def test_joint_training_is_a_point_at_all_the_classes() -> None:
    *others, joint = accuracy_chart(long_summary(3), joint=77.5).panels[0].lines
    assert (joint.name, joint.x, joint.y) == ("joint training of all 6 classes", (6,), (77.5,))
    assert joint.marker is not None
    assert list(accuracy_chart(long_summary(3)).panels[0].lines) == others


def test_every_line_looks_different() -> None:
    published = [Curve(f"preset {index}", "A paper", [10, 20], [90.0, 80.0]) for index in range(3)]
    (panel,) = accuracy_chart(long_summary(3), published).panels
    for part in ("name", "colour"):
        assert len({getattr(line, part) for line in panel.lines}) == len(panel.lines)
    measured = [line for line in panel.lines if not line.name.startswith("published: ")]
    assert len({line.dashes for line in measured} | {panel.lines[-1].dashes}) == len(measured) + 1


@pytest.mark.parametrize(("lowest", "floor"), [(99.5, 80), (80.9, 70), (81.0, 80), (3.0, 0), (0.0, 0)])
def test_the_axis_begins_below_the_lowest_of_all_curves(lowest: float, floor: float) -> None:
    line = Line("low", (4.0, 8.0), (lowest, None), "#000000")
    axis = percent_axis("accuracy", [line, Line("high", (4.0,), (99.0,), "#000000")])
    assert axis.low == floor
    assert axis.high is not None and axis.high > 100


def test_a_band_belongs_to_what_the_axis_shows() -> None:
    line = Line("low", (4.0,), (90.0,), "#000000", band=((61.0,), (95.0,)))
    assert percent_axis("accuracy", [line]).low == 60


def test_no_single_image_looks_like_a_collapse() -> None:
    # One of 100 test images is at most a twentieth of the axis.
    line = Line("one image", (1.0, 2.0), (100.0, 99.0), "#000000")
    axis = percent_axis("accuracy", [line])
    assert axis.low is not None and axis.high is not None and 1 / (axis.high - axis.low) <= 1 / 20


def test_many_steps_have_small_markers_and_few_ticks() -> None:
    for steps in (1, MOST_LISTED, MOST_LISTED + 1, MOST_MARKED, MOST_MARKED + 1, 50):
        chart = accuracy_chart(long_summary(steps))
        assert (chart.axis.ticks is None) == (steps > MOST_LISTED)
        for line in chart.panels[0].lines:
            assert line.marker is not None
            assert (line.marker.size <= SMALL) == (steps > MOST_MARKED)


def test_equal_numbers_give_equal_charts() -> None:
    summary = long_summary(2)
    assert accuracy_chart(summary) == accuracy_chart(long_summary(2))
    assert accuracy_chart(summary) != accuracy_chart({**summary, "average_top1": 1.0})
