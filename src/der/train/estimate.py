"""How far a step is, how fast it goes, and how long it will take: from its finished epochs and its plan."""

from collections import deque

from der.core.cost import working_time
from der.train.workload import FROZEN, PhaseWork, RunWork, StepWork

RECENT = 5  # epochs whose speed counts


class Estimate:
    """Follows the phases of a step, and tells the rest of it and of the run."""

    def __init__(self, run: RunWork) -> None:
        self.run = run
        self.work: StepWork = []
        self.phase = 0  # index in ``work``
        self.epoch = 0  # finished, of the phase
        self.images = 0  # of the epoch under way
        self.recent: deque[tuple[float, int]] = deque(maxlen=RECENT)  # seconds, images
        self.begin = working_time()

    def plan(self, work: StepWork) -> None:
        """A step of these phases begins."""
        self.work, self.phase = list(work), -1

    def start_phase(self, name: str, epochs: int, images: int) -> None:
        """The next phase begins, planned or not: a rebalancing of one's own may train as it likes."""
        names = [phase.name for phase in self.work]
        if name in names[self.phase + 1 :]:
            self.phase = names.index(name, self.phase + 1)
            cost = self.work[self.phase].cost
            self.work[self.phase] = PhaseWork(name, epochs, images, cost)
        else:
            self.phase += 1
            self.work.insert(self.phase, PhaseWork(name, epochs, images, FROZEN))
        self.recent.clear()
        self._start_epoch(0)

    def resume(self, epochs: int) -> None:
        """The first ``epochs`` epochs of the phase were done by an earlier run."""
        self._start_epoch(epochs)

    def add_images(self, images: int) -> None:
        """A batch was trained on."""
        self.images += images

    def end_epoch(self) -> None:
        """An epoch has ended."""
        self.recent.append((working_time() - self.begin, self.work[self.phase].images))
        self._start_epoch(self.epoch + 1)

    def _start_epoch(self, finished: int) -> None:
        self.epoch, self.images, self.begin = finished, 0, working_time()

    @property
    def epochs_done(self) -> int:
        """Finished epochs of the step."""
        return sum(phase.epochs for phase in self.work[: self.phase]) + self.epoch

    @property
    def epochs(self) -> int:
        """All epochs of the step."""
        return sum(phase.epochs for phase in self.work)

    @property
    def run_epochs(self) -> int:
        """All epochs of the run."""
        return (
            self.run.epochs_before + self.epochs + sum(one.epochs for work in self.run.later for one in work)
        )

    def rate(self) -> float | None:
        """Images per second, of the last finished epochs or else of the first; None before there is any."""
        seconds = sum(one for one, _ in self.recent) or working_time() - self.begin
        images = sum(one for _, one in self.recent) or self.images
        return images / seconds if images and seconds > 0 else None

    def step_left(self) -> float | None:
        """Seconds until the step's last epoch ends."""
        return self._seconds(self._cost_left())

    def run_left(self) -> float | None:
        """Seconds until the last epoch of all steps to come ends."""
        return self._seconds(
            self._cost_left() + sum(phase.total for work in self.run.later for phase in work)
        )

    def share(self) -> float:
        """The part of the step's cost that is done, 0 to 1."""
        total = sum(phase.total for phase in self.work)
        return 1 - self._cost_left() / total if total else 0.0

    def _cost_left(self) -> float:
        now = self.work[self.phase]
        done = (self.epoch * now.images + min(self.images, now.images)) * now.cost
        return sum(phase.total for phase in self.work[self.phase :]) - done

    def _seconds(self, cost: float) -> float | None:
        rate = self.rate()
        return None if rate is None else cost / (rate * self.work[self.phase].cost)
