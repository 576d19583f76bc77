"""Everything the summary over steps leaves behind: one JSON file, and a directory of tables and plots."""

from pathlib import Path

import pandas as pd

from der.common.atomic import atomic_directory
from der.common.errors import UserError
from der.common.serialization import write_json
from der.evaluation.confusion import read_confusion
from der.evaluation.metrics import StepMetrics
from der.summary.heatmaps import draw_accuracy_matrix, draw_confusion
from der.summary.logs import REPRESENTATION, read_logs
from der.summary.plots import draw_accuracy, draw_training
from der.summary.series import Summary, accuracy_matrix, accuracy_matrix_table, accuracy_table, summarise


def write_summary(
    steps: list[StepMetrics], confusion_csv: Path, training_csvs: list[Path], summary_json: Path, plots: Path
) -> Summary:
    """Write the summary of steps 1..T and return it.

    ``confusion_csv`` is the last step's; ``training_csvs`` are the training logs of steps 1..T.
    ``summary_json`` gets the summary, the directory ``plots`` four PNG plots and three CSV tables.
    Raises UserError naming a file that is missing or damaged; nothing is written then.
    """
    assert len(training_csvs) == len(steps)
    counts_CC, names = read_confusion(confusion_csv)
    if len(names) != steps[-1]["classes"]:
        raise UserError(
            f"{confusion_csv}: of {len(names)} classes, but step {len(steps)} has {steps[-1]['classes']}; "
            "run `dvc repro`"
        )
    log = read_logs(training_csvs)
    summary = summarise(steps)
    table = accuracy_table(summary)
    matrix_TT = accuracy_matrix(steps)
    with atomic_directory(plots) as directory:
        _write_table(table, directory / "accuracy.csv")
        _write_table(accuracy_matrix_table(matrix_TT), directory / "accuracy_matrix.csv")
        _write_table(log, directory / "training.csv")
        draw_accuracy(table, directory / "accuracy.png")
        draw_accuracy_matrix(matrix_TT, directory / "accuracy_matrix.png")
        draw_confusion(counts_CC, names, [one["classes"] for one in steps[:-1]], directory / "confusion.png")
        draw_training(log[log["phase"] == REPRESENTATION], directory / "training.png")
    write_json(summary_json, summary)
    return summary


def _write_table(table: pd.DataFrame, path: Path) -> None:
    # "NaN", because the plots that `dvc plots` makes draw an empty cell as zero.
    table.to_csv(path, index=False, na_rep="NaN", lineterminator="\n")
