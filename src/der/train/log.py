"""The training log, one line of CSV per epoch, in a sealed directory."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from der.core.sealed import sealed_directory

LOG = "log.csv"
REPRESENTATION = "representation"  # the phase that every step begins with


class EpochRecord(NamedTuple):
    """What one epoch gave.

    Attributes
    ----------
    phase
        "representation", or "classifier" where rebalancing learns the classifier anew.
    epoch
        Which epoch of the phase, counted from 1.
    learning_rate
        Of stochastic gradient descent in this epoch, a factor of the gradient.
    loss
        Mean over images of what is minimised: cross-entropies in nats, and the masks' sparsity, weighted.
    auxiliary_loss
        Mean over images of the auxiliary classifier's cross-entropy in nats; 0 without old classes.
    accuracy
        Percent, from 0 to 100, of augmented images while training.
    """

    phase: str
    epoch: int
    learning_rate: float
    loss: float
    auxiliary_loss: float
    accuracy: float


def write_log(path: Path, records: Iterable[EpochRecord]) -> None:
    """Make the directory ``path`` of the log: the records with a header."""
    with (
        sealed_directory(path) as directory,
        (directory / LOG).open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(EpochRecord._fields)
        writer.writerows(records)
