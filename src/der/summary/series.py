"""Computes measures over steps: the summary and its tables. Accuracies are in percent.

T steps
"""

import csv
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from der.core.files import SealedDirectory, write_csv
from der.evaluation.results import StepMetrics
from der.train.log import LOG, EpochRecord

HEADINGS = ["step", "classes", "top-1", "top-5", "old", "new", "NME", "parameters", "exemplars"]
LEFT_OUT = ["exemplars", "top-5", "parameters", "NME", "classes"]  # in turn, where the terminal is narrow


class StepSummary(TypedDict):
    """One step's part of the summary; None where a measure does not exist."""

    classes: int
    test_images: int
    top1: float
    top5: float
    old: float | None
    new: float
    nme_top1: float
    parameters: int
    parameters_trained: int
    memory_images: int
    gamma: float | None


class Summary(TypedDict):
    """The content of metrics/summary.json. DVC ignores None and missing keys."""

    average_top1: float
    average_top5: float
    last_top1: float
    last_top5: float
    average_nme_top1: float
    forgetting: float | None
    mean_parameters: float  # over steps, after pruning
    steps: dict[str, StepSummary]


def summarise(steps: list[StepMetrics]) -> Summary:
    """Sum up the metrics of steps 1..T; averages are over all steps ("average incremental accuracy")."""
    digits = len(str(len(steps)))  # `dvc metrics diff` orders keys as text
    rows = {}
    for one in steps:
        gamma = None if one["gamma"] is None else round(one["gamma"], 4)
        measures = {**one, "nme_top1": one["nme"]["top1"], "gamma": gamma}
        row: Any = {name: measures[name] for name in StepSummary.__annotations__}
        rows[f"{one['step']:0{digits}}"] = row
    return {
        "average_top1": average([one["top1"] for one in steps]),
        "average_top5": average([one["top5"] for one in steps]),
        "last_top1": steps[-1]["top1"],
        "last_top5": steps[-1]["top5"],
        "average_nme_top1": average([one["nme"]["top1"] for one in steps]),
        "forgetting": forgetting(accuracy_matrix(steps)),
        "mean_parameters": average([one["parameters"] for one in steps]),
        "steps": rows,
    }


def average(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def accuracy_matrix(steps: list[StepMetrics]) -> NDArray[np.float64]:
    """Accuracy after step k (row k - 1) on the classes of step i (column i - 1), (T, T); NaN for i > k."""
    matrix = np.full((len(steps), len(steps)), np.nan)
    for row, step in enumerate(steps):
        matrix[row, : row + 1] = [step["per_step"][str(i)] for i in range(1, row + 2)]
    return matrix


def forgetting(matrix: NDArray[np.float64]) -> float | None:
    """Compute average forgetting after the last step (Chaudhry et al., ECCV 2018, section 3), in points.

    It is the mean over earlier steps' classes of their best accuracy before the last step minus their
    accuracy after it, and negative if accuracy rose. ``matrix`` comes from ``accuracy_matrix``. The result
    is None for one step.
    """
    if len(matrix) == 1:
        return None
    best = np.nanmax(matrix[:-1, :-1], axis=0)
    return round(float(np.mean(best - matrix[-1, :-1])), 4)


class Curve(NamedTuple):
    """Published top-1 accuracies of a protocol."""

    name: str  # what was run, in a few words
    source: str  # where it was published, in full
    classes: list[int]  # seen after each step
    top1: list[float]  # in percent


def write_tables(
    directory: Path, summary: Summary, matrix: NDArray[np.float64], logs: Sequence[Sequence[EpochRecord]]
) -> None:
    """Write accuracies by step, ``accuracy_matrix`` and training logs, each as a CSV file."""
    measures = ("classes", "top1", "top5", "old", "new", "nme_top1")
    steps = list(enumerate(summary["steps"].values(), start=1))
    tables: dict[str, list[list[object]]] = {
        "accuracy.csv": [["step", *measures]],
        "accuracy_matrix.csv": [["after_step", *(f"step_{step}" for step, _ in steps)]],
        "training.csv": [["step", *EpochRecord._fields]],
    }
    for step, row in steps:
        tables["accuracy.csv"].append([step, *(row[measure] for measure in measures)])  # type: ignore[literal-required]
        tables["accuracy_matrix.csv"].append([step, *matrix[step - 1].tolist()])
    for step, log in enumerate(logs, start=1):
        tables["training.csv"] += [[step, *record] for record in log]
    for name, rows in tables.items():  # with NaN for None: `dvc plots` draws an empty cell as zero
        write_csv(
            directory / name,
            (["NaN" if cell is None or cell != cell else cell for cell in cells] for cells in rows),
        )


def read_logs(directories: Iterable[Path]) -> list[list[EpochRecord]]:
    """Read the records of steps 1, 2, ...; a value that a log leaves empty is NaN."""
    logs = []
    for directory in directories:
        text = SealedDirectory(directory).file(LOG).read_text(encoding="utf-8")
        log = []
        for phase, epoch, *numbers in list(csv.reader(text.splitlines()))[1:]:
            log.append(EpochRecord(phase, int(epoch), *(float(number or "nan") for number in numbers)))
        logs.append(log)
    return logs


def results_table(summary: Summary, width: int | None = None) -> str:
    """Write the summary as aligned lines, accuracies in percent, with "-" for a missing number.

    Columns that ``width`` has no room for are left out, the least important first.
    """
    rows: list[list[str]] = []
    for name, step in summary["steps"].items():
        accuracies = (step["top1"], step["top5"], step["old"], step["new"], step["nme_top1"])
        counts = [f"{count:,}" for count in (step["parameters"], step["memory_images"])]
        rows.append([str(int(name)), str(step["classes"]), *map(show, accuracies), *counts])
    averages = (summary["average_top1"], summary["average_top5"], None, None, summary["average_nme_top1"])
    rows = [HEADINGS, *rows, ["mean", "", *map(show, averages), "", ""]]
    for name in LEFT_OUT:
        if width is not None and len(align(rows)[1]) > width:
            place = rows[0].index(name)
            rows = [[*row[:place], *row[place + 1 :]] for row in rows]
    lines = align(rows)
    lines.insert(-1, lines[1])
    lines += [
        "",
        "Accuracies in percent; NME is top-1 by nearest mean of exemplars.",
        f"Average incremental accuracy: {show(summary['average_top1'])}",
        f"Last accuracy: {show(summary['last_top1'])}",
        f"Forgetting, in points: {show(summary['forgetting'])}",
    ]
    return "\n".join(lines)


def align(rows: list[list[str]], sides: str = "") -> list[str]:
    """Align the cells of ``rows`` in columns, with a rule under the first row.

    ``sides`` has a "<" for a left-aligned column and a ">" for a right-aligned one, the default.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    forms = [f"{side}{width}" for side, width in zip(sides or ">" * len(widths), widths, strict=True)]
    return ["  ".join(map(format, row, forms)).rstrip() for row in ruled]


def show(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def show_share(count: int, of: int, decimals: int = 0) -> str:
    """Write ``count`` of a total in percent, exactly, without a binary fraction in between."""
    scale = 10**decimals
    whole = (200 * scale * count + of) // (2 * of)
    return f"{whole / scale:.{decimals}f}"


def show_number(value: float, decimals: int) -> str:
    """Write a nonnegative number like JavaScript's toFixed."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))
