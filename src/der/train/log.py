"""What training tells: a record of every epoch, who listens to it, and the log that a step leaves.

Without torch, for those who read the log.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from der.core.files import sealed_directory

LOG = "log.csv"
REPRESENTATION = "representation"  # the phase that every step begins with
CLASSIFIER = "classifier"  # the phase that rebalancing by classifier learning adds


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


class Listener:
    """Hears how training goes on; this one does nothing, others override what they want to hear of."""

    def on_step(self, epochs: Mapping[str, int]) -> None:
        """A step begins, which plans so many epochs of each phase."""

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """A phase of ``epochs`` epochs over ``images`` images begins."""

    def on_resume(self, epochs: int) -> None:
        """The first ``epochs`` epochs of the phase were done by an earlier run."""

    def on_images(self, images: int) -> None:
        """A batch of ``images`` was trained on."""

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""


def write_log(path: Path, records: Iterable[EpochRecord]) -> None:
    """Write the sealed directory ``path`` of the log: one line of CSV per epoch, with a header."""
    with (
        sealed_directory(path) as directory,
        (directory / LOG).open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(EpochRecord._fields)
        writer.writerows(records)
