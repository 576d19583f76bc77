"""How each step was trained: all steps side by side, epoch after epoch."""

import math
from collections.abc import Callable, Sequence
from itertools import cycle, groupby

from der.summary.charts.accuracy import fitting
from der.summary.charts.colours import PHASES
from der.summary.charts.description import Axis, Line, LineChart, Marker, Number, Panel, Span
from der.train.log import EpochRecord

Log = Sequence[EpochRecord]  # of one step
Measure = Callable[[EpochRecord], Number]
MARKER = Marker("circle", 3, filled=True)
MOST_DOTTED = 100  # epochs that each have a dot
PERCENT = "training top-1"
DECADE = 9.99  # a rate that falls to a tenth has a logarithmic axis, in spite of rounding
NEARLY = 1 - 1e-9  # of a value that rounding has moved
MANY_DECADES = 5  # beyond so many a logarithmic axis names powers of ten alone


def training_chart(logs: Sequence[Log]) -> LineChart:
    """Loss, auxiliary loss, accuracy and learning rate of steps 1..T, a colour for each phase."""
    panels = [
        _panel("loss", logs, lambda record: record.loss, 1.4),
        _panel("auxiliary loss", logs, lambda record: _above_zero(record.auxiliary_loss)),
        _panel("training top-1", logs, lambda record: record.accuracy),
        _panel("learning rate", logs, lambda record: record.learning_rate),
    ]
    return LineChart(
        name="training",
        title="Training of all steps: loss, auxiliary loss, top-1 on augmented images, learning rate",
        axis=Axis("epochs of all steps", whole=True),
        panels=tuple(panel for panel in panels if any(map(_has_value, panel.lines))),
        spans=_spans(logs),
    )


def _above_zero(loss: float) -> Number:
    """A loss that exists: there is no auxiliary one without old classes."""
    return loss if loss > 0 else None


def _has_value(line: Line) -> bool:
    return any(value is not None for value in line.y)


def _panel(title: str, logs: Sequence[Log], measure: Measure, height: float = 1.0) -> Panel:
    lines = _lines(logs, measure)
    if title == PERCENT:
        return Panel(Axis(title, "%", high=102), lines, height)
    return Panel(
        _axis(title, [value for line in lines for value in line.y if value is not None]), lines, height
    )


def _lines(logs: Sequence[Log], measure: Measure) -> tuple[Line, ...]:
    """A line for each phase, broken between steps."""
    points: dict[str, list[tuple[float, Number]]] = {record.phase: [] for log in logs for record in log}
    epoch = 0
    for log in logs:
        for phase, records in groupby(log, lambda record: record.phase):
            for record in records:
                epoch += 1
                points[phase].append((float(epoch), measure(record)))
            points[phase].append((float(epoch), None))
    marker = fitting(MARKER, epoch) if epoch <= MOST_DOTTED else None
    return tuple(
        Line(
            phase,
            tuple(x for x, _ in points[phase]),
            tuple(y for _, y in points[phase]),
            colour,
            marker=marker,
        )
        for phase, colour in zip(points, cycle(PHASES), strict=False)
    )


def _spans(logs: Sequence[Log]) -> tuple[Span, ...]:
    spans, start = [], 0.5
    for step, log in enumerate(logs, start=1):
        spans.append(Span(f"step {step}", start, start + len(log)))
        start += len(log)
    return tuple(spans)


def _axis(title: str, values: Sequence[float]) -> Axis:
    """Logarithmic for more than one decade."""
    if values and min(values) > 0 and max(values) > DECADE * min(values):
        return Axis(title, logarithmic=True, ticks=round_values(min(values), max(values)))
    return Axis(title)


def round_values(low: float, high: float) -> tuple[float, ...]:
    """1, 2 and 5 times powers of ten from ``low`` to ``high``; of many decades, the powers alone."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) <= MANY_DECADES else (1,)
    # By way of text, which gives the number nearest to what is written.
    values = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
    return tuple(value for value in values if low * NEARLY <= value <= high / NEARLY)
