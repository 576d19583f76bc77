"""The confusion matrix as a CSV file that any class name survives."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.common.atomic import atomic_file
from der.common.errors import UserError
from der.common.sealed import SealedDirectory

CONFUSION = "confusion.csv"  # in the directory of a step's evaluation
CORNER = "true"  # head of the first column, which holds the true class of each row


def write_confusion(directory: Path, matrix: NDArray[np.int64], names: list[str]) -> None:
    """Write counts, (C, C), with predicted classes across and true classes down."""
    with (
        atomic_file(directory / CONFUSION) as partial,
        partial.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([CORNER, *names])
        writer.writerows([name, *counts] for name, counts in zip(names, matrix.tolist(), strict=True))


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
    names = head[1:]
    if not names or [row[0] for row in rows] != names:
        raise UserError(f"{path}: rows and columns name different classes; run the step's evaluation again")
    return matrix, names
