"""What changed between two summaries, in words."""

from typing import Any

import pytest

from der.summary.changes import describe_changes
from der.summary.series import summarise
from tests.summary.step_metrics import MATRIX, make_steps

NOW = summarise(make_steps(MATRIX, [4, 2, 2]))


def before(**changes: Any) -> dict[str, Any]:
    return {**NOW, **changes}


def test_nothing_changed() -> None:
    assert describe_changes(before(), NOW) == []


@pytest.mark.parametrize(
    ("old", "text"),
    [
        ({"average_top1": NOW["average_top1"] - 1.5}, "average top-1 from {:.2f} to {:.2f}, +1.50 points"),
        ({"average_top1": NOW["average_top1"] + 0.25}, "average top-1 from {:.2f} to {:.2f}, -0.25 points"),
        (
            {"average_top1": NOW["average_top1"] + 0.001},
            "average top-1 from {:.4f} to {:.4f}, -0.0010 points",
        ),
    ],
)
def test_a_measure_that_moved(old: dict[str, float], text: str) -> None:
    assert describe_changes(before(**old), NOW) == [text.format(old["average_top1"], NOW["average_top1"])]


def test_every_measure_has_a_name() -> None:
    old = {key: 1.0 for key in NOW if key not in ("steps", "mean_parameters")}
    lines = describe_changes(before(**old), NOW)
    assert len(lines) == len(old) and all(" from 1.00 to " in line for line in lines)


def test_a_measure_that_was_none() -> None:
    assert describe_changes(before(forgetting=None), NOW) == [
        f"forgetting from none to {NOW['forgetting']:.2f}"
    ]


def test_the_step_that_changed_most() -> None:
    steps = {name: dict(step) for name, step in NOW["steps"].items()}
    steps["2"]["top1"] = NOW["steps"]["2"]["top1"] + 1.0
    changed = NOW["steps"]["2"]["top1"]
    assert describe_changes(before(steps=steps), NOW) == [
        f"top-1 after step 2 from {changed + 1:.2f} to {changed:.2f}, -1.00 points"
    ]
    steps["1"]["top1"] = NOW["steps"]["1"]["top1"] - 0.5
    assert describe_changes(before(steps=steps), NOW) == [
        f"top-1 at 2 of 3 steps, most at step 2 from {changed + 1:.2f} to {changed:.2f}, -1.00 points"
    ]


def test_steps_are_the_same_by_their_number_however_it_is_written() -> None:
    nine = summarise(make_steps([[50.0] * step for step in range(1, 10)], [2] * 9))
    ten = summarise(make_steps([[50.0] * step for step in range(1, 11)], [2] * 10))
    ten["steps"]["03"]["top1"] -= 2.0
    (line,) = [line for line in describe_changes(nine, ten) if "after step" in line]
    assert line == "top-1 after step 3 from 47.00 to 45.00, -2.00 points"


def test_another_protocol_and_another_network() -> None:
    fewer = {name: step for name, step in NOW["steps"].items() if name != "3"}
    assert describe_changes(before(steps=fewer, mean_parameters=1234567.4), NOW) == [
        "3 steps instead of 2",
        f"mean parameters from 1,234,567 to {int(NOW['mean_parameters']):,}",
    ]


def test_steps_of_other_classes_are_not_compared() -> None:
    steps = {name: {**step, "top1": 1.0} for name, step in NOW["steps"].items()}
    steps["2"]["classes"] = 5
    assert describe_changes(before(steps=steps), NOW) == [
        "6 instead of 5 classes after step 2",
        f"top-1 at 2 of 3 steps, most at step 3 from 1.00 to {NOW['last_top1']:.2f}, "
        f"+{NOW['last_top1'] - 1:.2f} points",
    ]


def test_what_changed_at_many_steps_has_room_on_a_terminal() -> None:
    many = summarise(make_steps([[50.0] * step for step in range(1, 51)], [2] * 50))
    other = {name: {**step, "top1": 100.0} for name, step in many["steps"].items()}
    (line,) = describe_changes({**many, "steps": other}, many)
    assert line.startswith("top-1 at 50 of 50 steps") and len(line) <= 78


def test_what_an_earlier_revision_did_not_have_did_not_change() -> None:
    assert describe_changes({}, NOW) == []
