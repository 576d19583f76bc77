"""The training log: one line of CSV per epoch."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from der.common.atomic import atomic_file


class EpochRecord(NamedTuple):
    """What one epoch gave."""

    phase: str
    epoch: int  # of the phase, counted from 1
    learning_rate: float
    loss: float  # mean over images of what is minimised
    auxiliary_loss: float  # likewise, unweighted; 0 without old classes
    accuracy: float  # percent, of augmented images while training


def write_log(path: Path, records: Iterable[EpochRecord]) -> None:
    """Write the records with a header."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(EpochRecord._fields)
        writer.writerows(records)
