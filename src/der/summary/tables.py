"""Measures over steps as tables, and those as CSV files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from der.summary.series import Summary
from der.train.log import EpochRecord


def accuracy_table(summary: Summary) -> pd.DataFrame:
    """Accuracies by step, as columns step, classes, top1, top5, old, new, nme_top1; NaN for None."""
    columns = ["classes", "top1", "top5", "old", "new", "nme_top1"]
    table = pd.DataFrame(list(summary["steps"].values()), columns=columns)
    table = table.astype(dict.fromkeys(columns[1:], np.float64))
    table.insert(0, "step", range(1, len(table) + 1))
    return table


def accuracy_matrix_table(matrix: NDArray[np.float64]) -> pd.DataFrame:
    """``accuracy_matrix`` with its row's step in column after_step, and a column for each step's classes."""
    steps = range(1, len(matrix) + 1)
    table = pd.DataFrame(matrix, columns=[f"step_{i}" for i in steps])
    table.insert(0, "after_step", steps)
    return table


def training_table(logs: Sequence[Sequence[EpochRecord]]) -> pd.DataFrame:
    """The training logs of steps 1..T below each other, with column step before their own."""
    steps = [step for step, log in enumerate(logs, start=1) for _ in log]
    table = pd.DataFrame([record for log in logs for record in log], columns=EpochRecord._fields)
    table.insert(0, "step", steps)
    return table


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV file."""
    # "NaN", because the plots that `dvc plots` makes draw an empty cell as zero.
    table.to_csv(path, index=False, na_rep="NaN", lineterminator="\n")
