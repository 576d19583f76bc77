"""The training log, one line of CSV per epoch, in a sealed directory."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from der.common.sealed import sealed_directory

LOG = "log.csv"
REPRESENTATION = "representation"  # the phase that every step begins with


class EpochRecord(NamedTuple):
    """What one epoch gave."""

    phase: str
    epoch: int  # of the phase, counted from 1
    learning_rate: float
    loss: float  # mean over images of what is minimised
    auxiliary_loss: float  # likewise, unweighted; 0 without old classes
    accuracy: float  # percent, of augmented images while training


def write_log(path: Path, records: Iterable[EpochRecord]) -> None:
    """Make the directory ``path`` of the log: the records with a header."""
    with (
        sealed_directory(path) as directory,
        (directory / LOG).open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(EpochRecord._fields)
        writer.writerows(records)
