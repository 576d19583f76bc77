"""Everything the summary over steps leaves behind: one JSON file, and a directory of tables and plots."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.files import (atomic_directory, write_json)
from der.evaluation.metrics import (CONFUSION, StepMetrics, read_confusion)
from der.summary.charts.accuracy import Curve, accuracy_chart
from der.summary.charts.confusion import confusion_chart
from der.summary.charts.forgetting import accuracy_matrix_chart
from der.summary.charts.training import training_chart
from der.summary.drawing.line_chart import draw_lines
from der.summary.drawing.matrix_chart import draw_matrix
from der.summary.logs import read_logs
from der.summary.series import Summary, accuracy_matrix, summarise
from der.summary.tables import accuracy_matrix_table, accuracy_table, training_table, write_table


def write_summary(
    steps: list[StepMetrics],
    last: Path,
    training: list[Path],
    summary_json: Path,
    plots: Path,
    *,
    published: Sequence[Curve] = (),
    joint: float | None = None,
) -> Summary:
    """Write the summary of steps 1..T and return it.

    ``last`` is the directory of the last step's evaluation, ``training`` are those of the logs of steps 1..T.
    ``summary_json`` gets the summary, the directory ``plots`` four PNG plots and three CSV tables; the plot
    of accuracies shows ``published`` curves and the upper bound, ``joint``, beside the measured one.
    Raises UserError naming a file that is missing or damaged; nothing is written then.
    """
    assert len(training) == len(steps)
    counts_CC, names = _read_confusion(last, steps[-1])
    logs = read_logs(training)
    summary = summarise(steps)
    tables = {
        "accuracy": accuracy_table(summary),
        "accuracy_matrix": accuracy_matrix_table(accuracy_matrix(steps)),
        "training": training_table(logs),
    }
    matrices = (
        accuracy_matrix_chart(steps, names),
        confusion_chart(counts_CC, names, [one["classes"] for one in steps], len(steps)),
    )
    with atomic_directory(plots) as directory:
        for name, table in tables.items():
            write_table(table, directory / f"{name}.csv")
        for lines in (accuracy_chart(summary, published, joint), training_chart(logs)):
            draw_lines(lines, directory / f"{lines.name}.png")
        for matrix in matrices:
            draw_matrix(matrix, directory / f"{matrix.name}.png")
    write_json(summary_json, summary)
    return summary


def _read_confusion(last: Path, step: StepMetrics) -> tuple[NDArray[np.int64], list[str]]:
    """The confusion matrix and the names of its classes; raises UserError if they are not the step's."""
    counts_CC, names = read_confusion(last)
    if len(names) != step["classes"]:
        raise UserError(
            f"{last / CONFUSION}: of {len(names)} classes, but step {step['step']} has {step['classes']}; "
            "run the step's evaluation again"
        )
    return counts_CC, names
