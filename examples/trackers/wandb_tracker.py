"""Curves in Weights & Biases: `pip install wandb`, train as below, with or without a network.

with wandb.init(project="der", mode="offline") as run:
    der.DERClassifier(callback=WandbTracker(run)).partial_fit(images, labels)
"""

import wandb

import der


class WandbTracker(der.Listener):
    """Logs every epoch to a run of Weights & Biases; epochs are counted over all steps."""

    def __init__(self, run: wandb.Run) -> None:
        self.run = run

    def on_epoch(self, record: der.EpochRecord) -> None:
        """Log the numbers of an epoch."""
        self.run.log(record._asdict())
