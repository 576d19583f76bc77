"""How each step was trained."""

import math
from collections.abc import Callable, Sequence

from der.summary.charts.colours import step_colours
from der.summary.charts.description import Axis, ColourKey, Line, LineChart, Marker, Panel
from der.summary.charts.limits import MOST_LISTED, MOST_MARKED
from der.train.log import EpochRecord

Log = Sequence[EpochRecord]  # of one step
Measure = Callable[[EpochRecord], float]
DASHES = ((), (4.0, 2.0), (1.0, 2.0))  # of the phases
DASH_NAMES = ("solid", "dashed", "dotted")
MARKER = Marker("circle", 4, filled=True)
MANY_DECADES = 5  # beyond so many a logarithmic axis names powers of ten alone


def training_chart(logs: Sequence[Log]) -> LineChart:
    """Loss and training accuracy (percent) by epoch, a colour for each step 1..T, dashes for each phase."""
    phases = _phases([record for log in logs for record in log])
    losses = _lines(logs, phases, lambda record: record.loss, in_legend=len(logs) <= MOST_LISTED)
    accuracies = _lines(logs, phases, lambda record: record.accuracy, in_legend=False)
    dashes = [f"{kind}: {phase}" for kind, phase in zip(DASH_NAMES, phases, strict=False)]
    return LineChart(
        name="training",
        title="Training of each step",
        axis=_epoch_axis(max(record.epoch for log in logs for record in log)),
        panels=(
            Panel(_loss_axis([record.loss for log in logs for record in log]), losses),
            Panel(Axis("training top-1", "%", high=100.8), accuracies),
        ),
        note=", ".join(dashes) if len(phases) > 1 else "",
        key=ColourKey("step", step_colours(len(logs))) if len(logs) > MOST_LISTED else None,
    )


def _phases(log: Log) -> list[str]:
    return list(dict.fromkeys(record.phase for record in log))


def _lines(logs: Sequence[Log], phases: list[str], measure: Measure, *, in_legend: bool) -> tuple[Line, ...]:
    """A line for every phase of every step."""
    lines = []
    for step, (log, colour) in enumerate(zip(logs, step_colours(len(logs)), strict=True), start=1):
        for index, phase in enumerate(_phases(log)):
            records = [record for record in log if record.phase == phase]
            lines.append(
                Line(
                    name=f"step {step}" if index == 0 else f"step {step}, {phase}",
                    x=tuple(float(record.epoch) for record in records),
                    y=tuple(measure(record) for record in records),
                    colour=colour,
                    dashes=DASHES[phases.index(phase)],
                    marker=MARKER if len(records) <= MOST_MARKED else None,
                    in_legend=in_legend and index == 0,
                    group=step,
                )
            )
    return tuple(lines)


def _epoch_axis(epochs: int) -> Axis:
    every = tuple(float(epoch) for epoch in range(1, epochs + 1))
    return Axis("epoch", whole=True, ticks=every if epochs <= MOST_LISTED else None)


def _loss_axis(losses: Sequence[float]) -> Axis:
    """Logarithmic for losses of more than one decade."""
    low, high = min(losses), max(losses)
    if low > 0 and high > 10 * low:
        return Axis("mean loss per image", logarithmic=True, ticks=round_values(low, high))
    return Axis("mean loss per image")


def round_values(low: float, high: float) -> tuple[float, ...]:
    """1, 2 and 5 times powers of ten from ``low`` to ``high``; of many decades, the powers alone."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) <= MANY_DECADES else (1,)
    # By way of text, which gives the number nearest to what is written.
    values = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
    return tuple(value for value in values if low <= value <= high)
