"""Live curves of a step's training: events that TensorBoard shows, and nothing that a result depends on."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from der.core.cost import working_time
from der.train.log import EpochRecord
from der.train.step_run import Listener

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

EVENTS = "events.out.tfevents.*"


class TensorBoard(Listener):
    """Writes loss, auxiliary loss, accuracy, learning rate and images per second after every epoch.

    Each phase has a folder of its own in ``directory``. A phase that begins anew removes the events of one
    before; a resumed one goes on after the last epoch of which there is state. ``warn`` hears once of events
    that cannot be written; training goes on without them. A context manager.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        self.directory = directory
        self.warn = warn
        self.writer: SummaryWriter | None = None
        self.usable = True

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attempt(self._close)

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """A phase begins, in a folder of its name."""
        self._attempt(self._close)
        self.phase, self.images, self.done = name, images, 0
        self.begin = working_time()

    def on_resume(self, epochs: int) -> None:
        """The first ``epochs`` epochs were done, and written, by an earlier run."""
        self.done, self.begin = epochs, working_time()

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended: its points."""
        seconds = max(working_time() - self.begin, 1e-9)
        self._attempt(lambda: self._write(record, self.images / seconds))
        self.begin = working_time()

    def _write(self, record: EpochRecord, speed: float) -> None:
        if self.writer is None:
            self.writer = self._open()
        points = {
            "loss": record.loss,
            "auxiliary_loss": record.auxiliary_loss,
            "accuracy": record.accuracy,
            "learning_rate": record.learning_rate,
            "images_per_second": speed,
        }
        for name, value in points.items():
            self.writer.add_scalar(name, value, record.epoch)
        self.writer.flush()  # for those who look on, and for whoever goes on after a kill

    def _open(self) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter  # only now: it takes a second, and is an extra

        folder = self.directory / self.phase
        if self.done:
            _wait_for_a_later_name(folder)
            # What an earlier run wrote of epochs that are trained again does not count.
            return SummaryWriter(folder, purge_step=self.done + 1)  # type: ignore[no-untyped-call]
        for left in folder.glob(EVENTS):
            left.unlink()
        return SummaryWriter(folder)  # type: ignore[no-untyped-call]

    def _close(self) -> None:
        if self.writer is not None:
            writer, self.writer = self.writer, None
            writer.close()  # type: ignore[no-untyped-call]

    def _attempt(self, act: Callable[[], None]) -> None:
        if not self.usable:
            return
        try:
            act()
        except OSError as error:
            self.usable = False
            self.warn(f"{self.directory}: no curves from here on ({error.strerror}); training goes on")


def _wait_for_a_later_name(folder: Path) -> None:
    """Wait, at most a second, until events have a name of their own second.

    Events are read in the order of their names: second, host, process, and a number that has 9 after 10.
    """
    now = time.time()
    if any(folder.glob(f"{EVENTS.removesuffix('*')}{int(now):010d}.*")):
        time.sleep(int(now) + 1 - now)
