"""What became of the accuracy on each step's classes."""

import math
from collections.abc import Sequence
from itertools import pairwise

from der.evaluation.metrics import StepMetrics
from der.summary.charts.accuracy import measured_line, percent_axis
from der.summary.charts.colours import GAINED, GRADES, LOST
from der.summary.charts.description import Axis, Categories, LineChart, MatrixChart, Panel
from der.summary.charts.limits import MOST_LISTED, MOST_WRITTEN
from der.summary.charts.names import one_line, shortened
from der.summary.rounding import show_number
from der.summary.series import Summary

SHADES = (*reversed(GAINED[1:]), *LOST)  # from gained to lost
LEAST_SCALE = 20.0  # points to the end of the scale, where no more were lost or gained
LONGEST = 10  # characters of a class's name, and of the names of all classes of a step


def accuracy_matrix_chart(steps: Sequence[StepMetrics], names: Sequence[str]) -> MatrixChart:
    """Accuracy after each step (row) on each step's classes (column), shaded by the loss since."""
    cohorts = name_cohorts(names, [step["classes"] for step in steps])
    numbers = tuple(str(step["step"]) for step in steps)
    labels = tuple(f"{step}: {cohort}" for step, cohort in zip(numbers, cohorts, strict=True))
    losses = [[lost(steps, after, of) for of in range(len(steps))] for after in range(len(steps))]
    scale = max(
        [LEAST_SCALE, *(10 * math.ceil(abs(one) / 10) for row in losses for one in row if one is not None)]
    )
    texts = tuple(
        tuple(
            show_number(step["per_step"][str(k)], 1) if k <= step["step"] else ""
            for k in range(1, len(steps) + 1)
        )
        for step in steps
    )
    return MatrixChart(
        name="accuracy_matrix",
        title="Accuracy on each step's classes, shaded by the loss since they were new",
        rows=Categories("after step", labels, numbers),
        columns=Categories("on the classes of step", labels, numbers),
        places=tuple(tuple(None if one is None else grade(one, scale) for one in row) for row in losses),
        shades=SHADES,
        texts=texts if len(steps) <= MOST_WRITTEN else None,
        key=tuple(
            (_say(points), grade(points, scale)) for points in (-scale / 2, 0, scale / 4, scale / 2, scale)
        ),
    )


def lost(steps: Sequence[StepMetrics], after: int, of: int) -> float | None:
    """Points that the classes of step ``of`` lost until step ``after``, from 0; None before they came."""
    if of > after:
        return None
    key = str(of + 1)
    return steps[of]["per_step"][key] - steps[after]["per_step"][key]


def grade(points: float, scale: float) -> int:
    """The place in SHADES for so many points lost."""
    share = max(-1.0, min(points / scale, 1.0))
    return GRADES - 1 + round(share * (GRADES - 1))


def name_cohorts(names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """A name for the classes of each step: all of them, or the first and the last."""
    short = [shortened(one_line(name), LONGEST) for name in names]
    cohorts = []
    for start, end in pairwise([0, *sizes]):
        listed = ", ".join(short[start:end])
        cohorts.append(listed if len(listed) <= LONGEST else f"{short[start]} … {short[end - 1]}")
    return cohorts


def _say(points: float) -> str:
    if points == 0:
        return "as when new"
    return f"{points:g} lost" if points > 0 else f"{-points:g} gained"


def old_and_new_chart(summary: Summary) -> LineChart:
    """Accuracy on the classes of earlier steps and on those of the last one."""
    steps = list(summary["steps"].values())
    lines = (measured_line("new", steps), measured_line("old", steps))
    classes = lines[0].x
    return LineChart(
        name="old_and_new",
        title="Top-1 on old and on new classes",
        axis=Axis("classes seen", whole=True, ticks=classes if len(classes) <= MOST_LISTED else None),
        panels=(Panel(percent_axis("test top-1", lines), lines),),
    )
