"""What became of the accuracy on each step's classes."""

from der.evaluation.metrics import StepMetrics
from der.summary.charts.colours import VIRIDIS
from der.summary.charts.description import Categories, ColourScale, MatrixChart, Tones
from der.summary.charts.limits import MOST_WRITTEN

TONES = Tones(VIRIDIS, "#000000")
SCALE = ColourScale("top-1", "%", 0, 100, (0, 20, 40, 60, 80, 100), light=TONES, dark=TONES)


def accuracy_matrix_chart(steps: list[StepMetrics]) -> MatrixChart:
    """Top-1 accuracy in percent: row, after which step; column, on which step's classes."""
    names = [str(step["step"]) for step in steps]
    values = tuple(tuple(step["per_step"].get(name) for name in names) for step in steps)
    texts = tuple(tuple("" if value is None else f"{value:.1f}" for value in row) for row in values)
    return MatrixChart(
        name="accuracy_matrix",
        title="Accuracy on each step's classes",
        rows=Categories("after step", tuple(names)),
        columns=Categories("classes of step", tuple(names)),
        values=values,
        scale=SCALE,
        texts=texts if len(steps) <= MOST_WRITTEN else None,
    )
