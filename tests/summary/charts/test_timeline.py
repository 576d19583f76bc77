"""The timeline and the memory over steps, as they are described."""

import numpy as np
import pytest

from der.core.cost import StageTime, show_seconds
from der.summary.charts.memory import memory_chart
from der.summary.charts.timeline import seconds_in_all, timeline_chart


def took(seconds: float, *, computed: bool = True, runs: int = 1) -> StageTime:
    return StageTime(seconds, runs, None, "a processor (cpu)", None, computed)


TIMES = {
    "download": took(2, computed=False),
    "split": took(1, computed=False),
    "train_task@1": took(60, computed=False),
    "build_memory@1": took(5),
    "train_task@2": took(90, runs=3),
    "summarize": took(3),
}


def test_stages_stand_behind_each_other_in_the_row_of_their_step() -> None:
    chart = timeline_chart(TIMES, 2)
    assert chart.rows == ("before", "step 1", "step 2", "after") and chart.axis.unit == "seconds"
    assert [(bar.name, bar.row, bar.start, bar.length, bar.hollow) for bar in chart.bars] == [
        ("download", 0, 0, 2, True),
        ("split", 0, 2, 1, True),
        ("train_task@1", 1, 0, 60, True),
        ("build_memory@1", 1, 60, 5, False),
        ("train_task@2", 2, 0, 90, False),
        ("summarize", 3, 0, 3, False),
    ]
    assert {bar.kind for bar in chart.bars} <= chart.kinds.keys()
    assert chart.bars[2].text == "1 min 0 s, taken from the cache"
    assert chart.bars[4].text == "1 min 30 s, computed by the last run, in 3 parts"


def test_what_was_computed_and_what_was_saved_are_told_apart() -> None:
    assert seconds_in_all(TIMES) == (98, 63)


@pytest.mark.parametrize(("seconds", "unit", "length"), [(119, "seconds", 119), (120, "minutes", 2)])
def test_the_unit_fits_the_longest_row(seconds: float, unit: str, length: float) -> None:
    chart = timeline_chart({"train_task@1": took(seconds)}, 1)
    assert (chart.axis.unit, chart.bars[0].length) == (unit, length)
    assert timeline_chart({"train_task@1": took(7200)}, 1).axis.unit == "hours"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (5000, "1 h 23 min"),
    ],
)
def test_seconds_in_words(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


def test_memory_is_shared_out_among_more_classes() -> None:
    share, total = memory_chart([np.array([5, 5]), np.array([3, 3, 2, 2])]).panels
    assert share.lines[0].x == (2, 4) and share.lines[0].y == (5, 2.5)
    assert share.lines[0].band == ((5, 2), (5, 3))
    assert total.lines[0].y == (10, 10)
