"""The curves of several runs over each other."""

from collections.abc import Sequence
from dataclasses import replace

from der.summary.charts.accuracy import measured_line, percent_axis, with_band
from der.summary.charts.colours import RUNS
from der.summary.charts.description import Axis, LineChart, Panel
from der.summary.charts.limits import MOST_LISTED
from der.summary.series import Summary

DASHES = ((), (5.0, 2.0), (1.0, 2.0))  # told apart by these when colours begin again


def comparison_chart(runs: Sequence[tuple[str, Summary]]) -> LineChart:
    """Top-1 of each named run by the number of classes seen, with its band where that is known."""
    lines = []
    for index, (name, summary) in enumerate(runs):
        steps = list(summary["steps"].values())
        line = replace(
            measured_line("top1", steps),
            name=name,
            colour=RUNS[index % len(RUNS)],
            dashes=DASHES[index // len(RUNS) % len(DASHES)],
        )
        lines.append(with_band(line, steps) if all("test_images" in step for step in steps) else line)
    classes = tuple(sorted({x for line in lines for x in line.x}))
    return LineChart(
        name="comparison",
        title="Top-1 over all classes seen",
        axis=Axis("classes seen", whole=True, ticks=classes if len(classes) <= MOST_LISTED else None),
        panels=(Panel(percent_axis("test top-1 over all classes seen", lines), tuple(lines)),),
    )
