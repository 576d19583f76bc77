"""What the templates are filled with, from a finished run."""

from collections.abc import Callable
from typing import Any

import numpy as np

from der.report.curves import class_curve
from der.report.figures.drawn import Figure, bar_figure, line_figure
from der.report.figures.matrices import confusion_matrix, forgetting_matrix
from der.report.finished_run import FinishedRun
from der.report.tables import MOST_PAIRS, class_rows, confused_pairs, parameter_lines
from der.report.thumbnails import exemplar_sheets, mistake_album
from der.summary.calibration import expected_calibration_error, least_calibration_error, reliability
from der.summary.charts.accuracy import accuracy_chart
from der.summary.charts.calibration import reliability_chart
from der.summary.charts.forgetting import old_and_new_chart
from der.summary.charts.memory import memory_chart
from der.summary.charts.timeline import seconds_in_all, timeline_chart
from der.summary.charts.training import training_chart
from der.summary.series import accuracy_matrix
from der.summary.verdict import compare, judge

TIMELINE = "timeline"  # the figure whose data is not the same on every machine
HALF = 0.5  # of the page's width


def contents(run: FinishedRun) -> dict[str, Any]:
    """Everything that the page's template names."""
    figures = draw(run)
    album = mistake_album(run.mistakes, run.confusions, run.names)
    confusion = confusion_matrix(run, album)
    forgetting = forgetting_matrix(run)
    pairs = confused_pairs(run.confusion, run.names)
    bins = _bins(run)
    rows = class_rows(run.confusion, run.names, run.steps)
    return {
        "run": run,
        "last": run.steps[-1],
        "verdict": judge(run.summary, accuracy_matrix(run.steps)),
        "comparisons": [compare(run.summary, reference) for reference in run.references],
        "figures": figures,
        "confusion": confusion,
        "forgetting": forgetting,
        "classes": rows,
        "curves": [class_curve(row.curve, row.images, row.step, len(run.steps)) for row in rows],
        "pairs": pairs[:MOST_PAIRS],
        "all_pairs": len(pairs),
        "exemplars": exemplar_sheets(run.memory, len(run.names)),
        "album": album,
        "bins": bins,
        "ece": expected_calibration_error(bins),
        "least_ece": least_calibration_error(bins),
        "seconds": seconds_in_all(run.times),
        "untimed": [stage for stage in run.stages if stage not in run.times],
        "devices": _distinct(time.device for time in run.times.values() if time.torch),
        "torch": _distinct(time.torch for time in run.times.values() if time.torch),
        "parameters": list(parameter_lines(run.parameters)),
        "data": {
            **{name: figure.data for name, figure in figures.items() if name != TIMELINE},
            "confusion": confusion.data,
            "accuracy_matrix": forgetting.data,
        },
        "measured": {name: figure.data for name, figure in figures.items() if name == TIMELINE},
    }


def _bins(run: FinishedRun) -> Any:
    labels = np.repeat(np.arange(len(run.names)), run.images)
    return reliability(run.predictions.confidence, run.predictions.predicted == labels)


def _distinct(values: Any) -> list[str]:
    return list(dict.fromkeys(values))


def draw(run: FinishedRun) -> dict[str, Figure]:
    """The figures with lines and bars, by name."""
    sizes = [step["classes"] for step in run.steps]
    say = _after(sizes)
    figures = [
        line_figure(accuracy_chart(run.summary, run.published, run.joint), say, wide=340, narrow=250),
        line_figure(reliability_chart(_bins(run)), _confidence, wide=130, narrow=110, share=HALF),
        line_figure(memory_chart(run.exemplars), say, wide=160, narrow=110, share=HALF),
        line_figure(training_chart(run.logs), _epoch(run), wide=120, narrow=100),
    ]
    if len(run.steps) > 1:
        figures.append(line_figure(old_and_new_chart(run.summary), say, wide=240, narrow=220))
    if run.times:
        figures.append(bar_figure(timeline_chart(run.times, len(run.steps))))
    return {figure.name: figure for figure in figures}


def _after(sizes: list[int]) -> Callable[[float], str]:
    def say(classes: float) -> str:
        count = int(classes)
        step = f"step {sizes.index(count) + 1}, " if count in sizes else ""
        return f"{step}{count} {'class' if count == 1 else 'classes'}"

    return say


def _confidence(percent: float) -> str:
    return f"sure of {percent:.1f} %"


def _epoch(run: FinishedRun) -> Callable[[float], str]:
    """Which epoch of which step and phase one of all epochs is."""
    names = [
        f"step {step}, {record.phase}, epoch {record.epoch}"
        for step, log in enumerate(run.logs, start=1)
        for record in log
    ]
    return lambda epoch: names[int(epoch) - 1]
