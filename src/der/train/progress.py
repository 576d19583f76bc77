"""What training shows: a bar per epoch on a terminal, about ten lines a phase elsewhere."""

import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm

from der.train.log import EpochRecord
from der.train.step_run import Listener

LINES_PER_PHASE = 10


def warn(sentence: str) -> None:
    """Tell the user of something odd that does not stop the stage."""
    print(f"warning: {sentence}", file=sys.stderr, flush=True)


class Progress(Listener):
    """Shows the images and epochs done; a context manager."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """A phase of ``epochs`` epochs over ``images`` images begins."""
        self._close()
        self.phase, self.epochs = f"{self.title}, {name}", epochs
        if sys.stderr.isatty():
            self.bar = tqdm(total=images, unit="image", desc=f"{self.phase}, epoch 1/{epochs}", leave=False)

    def on_resume(self, epochs: int) -> None:
        """The first ``epochs`` epochs of the phase were done by an earlier run."""
        print(f"{self.phase}: going on after epoch {epochs} of {self.epochs}", flush=True)

    def on_images(self, images: int) -> None:
        """A batch of ``images`` was trained on."""
        if self.bar is not None:
            self.bar.update(images)

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""
        text = f"loss {record.loss:.4f}, accuracy {record.accuracy:.2f} %"
        if self.bar is not None:
            self.bar.reset()
            self.bar.set_description(
                f"{self.phase}, epoch {min(record.epoch + 1, self.epochs)}/{self.epochs}"
            )
            self.bar.set_postfix_str(text)
        elif record.epoch % max(1, self.epochs // LINES_PER_PHASE) == 0 or record.epoch == self.epochs:
            print(f"{self.phase}: epoch {record.epoch}/{self.epochs}, {text}", flush=True)
