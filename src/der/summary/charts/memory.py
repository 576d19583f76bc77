"""How the memory is shared out among more and more classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from der.summary.charts.accuracy import fitting
from der.summary.charts.colours import KINDS, MUTED
from der.summary.charts.description import Axis, Line, LineChart, Marker, Panel
from der.summary.charts.limits import MOST_LISTED


def memory_chart(exemplars: Sequence[NDArray[np.int64]]) -> LineChart:
    """Exemplars per class after every step: from the fewest to the most, and their mean; and of all classes.

    ``exemplars`` has the number of each class seen, after every step.
    """
    x = tuple(float(len(counts)) for counts in exemplars)
    marker = fitting(Marker("circle", 5, filled=True), len(exemplars))
    share = Line(
        "exemplars per class",
        x,
        tuple(float(counts.mean()) for counts in exemplars),
        KINDS["memory"],
        2.0,
        marker=marker,
        band=(
            tuple(float(counts.min()) for counts in exemplars),
            tuple(float(counts.max()) for counts in exemplars),
        ),
    )
    most = max(float(counts.sum()) for counts in exemplars)
    total = Line(
        "exemplars of all classes",
        x,
        tuple(float(counts.sum()) for counts in exemplars),
        MUTED,
        marker=marker,
    )
    return LineChart(
        name="memory",
        title="Exemplars per class, and of all classes",
        axis=Axis("classes seen", whole=True, ticks=x if len(x) <= MOST_LISTED else None),
        panels=(
            Panel(Axis("per class", low=0), (share,), 1.4),
            Panel(Axis("in all", low=0, high=1.1 * most), (total,)),
        ),
    )
