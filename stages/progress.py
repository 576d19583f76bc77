"""What training shows: a bar per epoch on a terminal, about ten lines a step elsewhere."""

import sys
from types import TracebackType

from tqdm import tqdm

from der.train.log import EpochRecord

LINES_PER_STEP = 10


def warn(sentence: str) -> None:
    """Tell the user of something odd that does not stop the stage."""
    print(f"warning: {sentence}", file=sys.stderr, flush=True)


class Progress:
    """Shows the images and epochs done; a context manager."""

    def __init__(self, title: str, epochs: int, images: int) -> None:
        self.title = title
        self.epochs = epochs
        self.bar = (
            tqdm(total=images, unit="image", desc=f"{title}, epoch 1/{epochs}", leave=False)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_resume(self, epochs: int) -> None:
        """The first ``epochs`` epochs were done by an earlier run."""
        print(f"{self.title}: going on after epoch {epochs} of {self.epochs}", flush=True)

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
                f"{self.title}, epoch {min(record.epoch + 1, self.epochs)}/{self.epochs}"
            )
            self.bar.set_postfix_str(text)
        elif record.epoch % max(1, self.epochs // LINES_PER_STEP) == 0 or record.epoch == self.epochs:
            print(f"{self.title}: epoch {record.epoch}/{self.epochs}, {text}", flush=True)
