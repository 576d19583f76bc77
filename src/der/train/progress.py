"""What training shows: bars of the step and of the run on a terminal, a dozen lines a step elsewhere."""

import sys
import time
from types import TracebackType

from der.train.bar import BarLine, Terminal, show_time
from der.train.estimate import Estimate
from der.train.log import EpochRecord
from der.train.step_run import Listener
from der.train.workload import RunWork, StepWork, milestones

PAUSE = 0.1  # seconds between two drawings


def warn(sentence: str) -> None:
    """Tell the user of something odd that does not stop the stage."""
    start = "\r\x1b[K" if Terminal.is_there() else ""  # a bar may stand there, and is drawn again
    print(f"{start}warning: {sentence}", file=sys.stderr, flush=True)


class Progress(Listener):
    """Shows how far a step and the run are, and how long they will take; a context manager.

    ``title`` begins every line; ``run`` is what is trained beside the step, if that is known.
    """

    def __init__(self, title: str, run: RunWork = RunWork()) -> None:  # noqa: B008 (it never changes)
        self.title = title
        self.estimate = Estimate(run)
        self.terminal = Terminal() if Terminal.is_there() else None
        self.drawn = 0.0  # when
        self.loss: float | None = None  # of the last epoch

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def on_step(self, work: StepWork) -> None:
        """A step of these phases begins."""
        self.estimate.plan(work)

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """A phase of ``epochs`` epochs over ``images`` images begins."""
        self.estimate.start_phase(name, epochs, images)
        self.phase, self.epochs = f"{self.title}, {name}", epochs
        self.milestones = milestones(self.estimate.work)

    def on_resume(self, epochs: int) -> None:
        """The first ``epochs`` epochs of the phase were done by an earlier run."""
        self.estimate.resume(epochs)
        self._clear()
        print(f"{self.phase}: going on after epoch {epochs} of {self.epochs}", flush=True)

    def on_images(self, images: int) -> None:
        """A batch of ``images`` was trained on."""
        self.estimate.add_images(images)
        if self.terminal is not None and time.perf_counter() - self.drawn >= PAUSE:
            self._draw(self.terminal)

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""
        self.estimate.end_epoch()
        self.loss = record.loss
        if self.terminal is not None:
            self._draw(self.terminal)
        elif self.estimate.epochs_done in self.milestones:
            loss = f"loss {record.loss:.4f}, accuracy {record.accuracy:.2f} %"
            print(f"{self.phase}: epoch {record.epoch}/{self.epochs}, {loss}, {self._left()}", flush=True)

    def _left(self) -> str:
        one = self.estimate
        left = f"{one.rate() or 0:,.0f} images/s, {show_time(one.step_left())} left"
        return f"{left}, {show_time(one.run_left())} with later steps" if one.run.later else left

    def _draw(self, terminal: Terminal) -> None:
        one = self.estimate
        more = [f"{rate:,.0f} images/s"] if (rate := one.rate()) else []
        more += [f"loss {self.loss:.4f}"] if self.loss is not None else []
        epochs = f"epoch {min(one.epochs_done + 1, one.epochs)}/{one.epochs}"
        step = BarLine(self.title, one.share(), [epochs, f"{show_time(one.step_left())} left", *more])
        lines = [step]
        if one.run.later or one.run.epochs_before:
            done = one.run.epochs_before + one.epochs_done
            epochs = f"epoch {min(done + 1, one.run_epochs)}/{one.run_epochs}"
            texts = [epochs, f"{show_time(one.run_left())} left"]
            lines.append(BarLine("all steps".ljust(len(self.title)), done / one.run_epochs, texts))
        terminal.draw(lines)
        self.drawn = time.perf_counter()

    def _clear(self) -> None:
        if self.terminal is not None:
            self.terminal.clear()
