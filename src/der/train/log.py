"""Reports of training: a record of every epoch, listeners, the step's log, and the display of progress.

The display is a bar on a terminal, and a dozen lines per step elsewhere.
"""

import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from der.core.files import sealed_directory, write_csv

LOG = "log.csv"
REPRESENTATION = "representation"  # the phase that every step begins with
CLASSIFIER = "classifier"  # the phase that rebalancing by classifier learning adds


class EpochRecord(NamedTuple):
    """The results of one epoch.

    Attributes
    ----------
    phase
        "representation", "classifier" (of a rebalancing, or of a frozen network), or "compression".
    epoch
        Which epoch of the phase, counted from 1.
    learning_rate
        The learning rate of SGD in this epoch; 0 for a frozen network.
    loss
        Mean over images of the weighted losses: cross-entropies in nats, distillation, masks' sparsity.
    auxiliary_loss
        Mean over images of the auxiliary classifier's cross-entropy in nats; 0 without old classes.
    accuracy
        Training accuracy in percent; augmented unless frozen.
    """

    phase: str
    epoch: int
    learning_rate: float
    loss: float
    auxiliary_loss: float
    accuracy: float


class Listener:
    """Base class of listeners to training; override the methods for the events that you need."""

    def on_step(self, epochs: Mapping[str, int]) -> None:
        """A step begins, with its planned epochs of each phase."""

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
    with sealed_directory(path) as directory:
        write_csv(directory / LOG, [EpochRecord._fields, *records])


BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
LINES = 10  # a step, beside those of a phase's first and last epoch


def warn(sentence: str) -> None:
    """Warn the user of a problem that does not stop the stage."""
    tqdm.write(f"warning: {sentence}", file=sys.stderr)  # above a bar, if there is one
    sys.stderr.flush()


class Several(Listener):
    """Tells each of several listeners of every event."""

    def __init__(self, *listeners: Listener) -> None:
        for name in vars(Listener):
            if name.startswith("on_"):
                methods = [getattr(one, name) for one in listeners]
                setattr(self, name, lambda *event, methods=methods: [one(*event) for one in methods])


class Progress(Listener):
    """Shows the progress of a step: a bar of all its epochs on a terminal, some lines elsewhere.

    ``title`` begins every line. A context manager.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.later: dict[str, int] = {}  # epochs of the phases to come
        self.done = 0  # epochs of the step
        self.bar = tqdm(desc=title, bar_format=BAR, disable=None, leave=False, dynamic_ncols=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def on_step(self, epochs: Mapping[str, int]) -> None:
        """A step begins, with its planned epochs of each phase."""
        self.later, self.done = dict(epochs), 0
        self.bar.reset(total=sum(epochs.values()))

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """A phase begins, planned or not: a user-defined rebalancing may train more phases."""
        self.later.pop(name, None)  # or unplanned: a user-defined rebalancing may train more phases
        self.phase, self.epochs, self.images = name, epochs, images
        self.total = self.bar.total = self.done + epochs + sum(self.later.values())
        self.begin = time.perf_counter()

    def on_resume(self, epochs: int) -> None:
        """The first ``epochs`` epochs of the phase were done by an earlier run."""
        self.done += epochs
        self.bar.initial = self.bar.n = self.done  # they say nothing of the speed
        self.bar.clear()
        print(f"{self.title}, {self.phase}: going on after epoch {epochs} of {self.epochs}", flush=True)
        self.begin = time.perf_counter()

    def on_images(self, images: int) -> None:
        """A batch of ``images`` was trained on."""
        self.bar.update(images / self.images)

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""
        seconds = max(time.perf_counter() - self.begin, 1e-9)
        speed = f"{self.images / seconds:,.0f} images/s"
        self.done += 1
        state = f"epoch {self.done}/{self.total}, {speed}, loss {record.loss:.4f}"
        self.bar.set_postfix_str(state, refresh=False)
        tenths = [LINES * done // self.total for done in (self.done - 1, self.done)]
        if self.bar.disable and (record.epoch in (1, self.epochs) or tenths[0] < tenths[1]):
            left = tqdm.format_interval((self.total - self.done) * seconds)
            means = f"loss {record.loss:.4f}, accuracy {record.accuracy:.2f} %"
            epoch = f"{self.title}, {self.phase}: epoch {record.epoch}/{self.epochs}"
            print(f"{epoch}, {means}, {speed}, {left} left", flush=True)
        self.begin = time.perf_counter()
