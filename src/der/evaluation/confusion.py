"""The confusion matrix as a CSV file that any class name survives."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from der.common.atomic import atomic_file
from der.common.errors import UserError

CORNER = "true"  # head of the first column, which holds the true class of each row


def write_confusion(path: Path, matrix: NDArray[np.int64], names: list[str]) -> None:
    """Write counts, (C, C), with predicted classes across and true classes down."""
    frame = pd.DataFrame(matrix, columns=names)
    frame.insert(0, CORNER, names, allow_duplicates=True)  # a class may be called "true" itself
    with atomic_file(path) as partial:
        frame.to_csv(partial, index=False, lineterminator="\n", encoding="utf-8")


def read_confusion(path: Path) -> tuple[NDArray[np.int64], list[str]]:
    """Read what ``write_confusion`` wrote: counts, (C, C), and class names in label order.

    Raises UserError naming the file if it is missing or no confusion matrix.
    """
    try:
        # Everything as text and without a header: pandas would rename or reinterpret some class names.
        cells = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding="utf-8").to_numpy()
        names = [str(name) for name in cells[0, 1:]]
        matrix = cells[1:, 1:].astype(np.int64)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a confusion matrix ({str(error).strip()})") from None
    if not names or list(cells[1:, 0]) != names:
        raise UserError(f"{path}: rows and columns name different classes; run the step's evaluation again")
    return matrix, names
