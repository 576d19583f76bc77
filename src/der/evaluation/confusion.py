"""The confusion matrix as a CSV file that any class name survives."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError, csv_cell, text_of_cell
from der.core.files import atomic_file
from der.core.sealed import SealedDirectory

CONFUSION = "confusion.csv"  # in the directory of a step's evaluation
CORNER = "true"  # head of the first column, which holds the true class of each row


def write_confusion(directory: Path, matrix: NDArray[np.int64], names: list[str]) -> None:
    """Write counts, (C, C), with predicted classes across and true classes down; no name is a formula."""
    with (
        atomic_file(directory / CONFUSION) as partial,
        partial.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        cells = [csv_cell(name) for name in names]
        writer.writerow([CORNER, *cells])
        writer.writerows([cell, *counts] for cell, counts in zip(cells, matrix.tolist(), strict=True))


def read_confusion(directory: Path) -> tuple[NDArray[np.int64], list[str]]:
    """Read what ``write_confusion`` wrote: counts, (C, C), and class names in label order.

    Raises UserError naming the file if it is missing, damaged or no confusion matrix.
    """
    path = SealedDirectory(directory).file(CONFUSION)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            head, *rows = csv.reader(stream, strict=True)
        matrix = np.array([row[1:] for row in rows], dtype=np.int64).reshape(len(rows), len(head) - 1)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a confusion matrix ({error})") from None
    cells = head[1:]
    if not cells or [row[0] for row in rows] != cells:
        raise UserError(f"{path}: rows and columns name different classes; run the step's evaluation again")
    return matrix, [text_of_cell(cell) for cell in cells]
