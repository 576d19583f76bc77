"""Live curves of the pipeline in TensorBoard: `pip install tensorboard`, then, in the project,

DER_LISTENER=examples.trackers.tensorboard_tracker:TensorBoardTracker dvc repro
tensorboard --logdir runs
"""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

import der


class TensorBoardTracker(der.Listener):
    """Writes the numbers of every epoch to runs/<stage>/<phase>, in place of those of an earlier run."""

    writer: SummaryWriter | None

    def __init__(self, stage: str) -> None:
        self.folder = Path("runs", stage.replace(" ", "_"))

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """A phase begins."""
        self.phase, self.done, self.writer = name, 0, None

    def on_resume(self, epochs: int) -> None:
        """It goes on where an earlier run has ended."""
        self.done = epochs

    def on_epoch(self, record: der.EpochRecord) -> None:
        """Write the numbers of an epoch, and show them at once."""
        self.writer = self.writer or SummaryWriter(self.folder / self.phase, purge_step=self.done + 1)
        for name, value in record._asdict().items():
            if isinstance(value, float):
                self.writer.add_scalar(name, value, record.epoch)
        self.writer.flush()
