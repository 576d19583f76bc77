"""Whether the network is right as often as it is sure."""

from collections.abc import Sequence

from der.summary.calibration import Bin
from der.summary.charts.colours import ACCURACIES, MUTED
from der.summary.charts.description import Axis, Line, LineChart, Marker, Panel
from der.summary.uncertainty import wilson

PERCENT = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)


def reliability_chart(bins: Sequence[Bin]) -> LineChart:
    """Accuracy by mean confidence of each bin with its 95 % band, and how many images are in each."""
    x = tuple(one.confidence for one in bins)
    intervals = [wilson(one.accuracy, one.images) for one in bins]
    images = sum(one.images for one in bins)
    measured = Line(
        "accuracy",
        x,
        tuple(one.accuracy for one in bins),
        ACCURACIES["top1"],
        2.0,
        marker=Marker("circle", 6, filled=True),
        band=(tuple(one.low for one in intervals), tuple(one.high for one in intervals)),
    )
    shares = Line(
        "share of all test images",
        x,
        tuple(100 * one.images / images for one in bins),
        ACCURACIES["nme_top1"],
        marker=Marker("square", 5, filled=True),
    )
    perfect = Line("as sure as right", (0.0, 100.0), (0.0, 100.0), MUTED, 1.0, (4, 3))
    return LineChart(
        name="reliability",
        title="Accuracy by confidence after the last step",
        axis=Axis("confidence", "%", low=0, high=102, ticks=PERCENT),
        panels=(
            Panel(Axis("accuracy", "%", low=0, high=103, ticks=PERCENT), (measured, perfect), 2.0),
            Panel(Axis("images", "%", low=0), (shares,)),
        ),
    )
