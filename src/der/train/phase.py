"""A phase of training: an engine run over the epochs of a schedule, resumable after each."""

from typing import Protocol

from der.common.errors import UserError
from der.common.settings import PhaseSettings, TrainSettings
from der.train.augmentation import draw_epoch
from der.train.engine import Engine
from der.train.log import EpochRecord
from der.train.schedule import learning_rate
from der.train.scratch import Saved


class Listener(Protocol):
    """Hears how training goes on."""

    def on_resume(self, epochs: int) -> None:
        """The first ``epochs`` epochs were done by an earlier run."""

    def on_images(self, images: int) -> None:
        """A batch of ``images`` was trained on."""

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""


class Keeper(Protocol):
    """Holds the state to go on from; see der.train.scratch.Scratch."""

    def load(self, phase: str) -> Saved | None:
        """The newest state of ``phase``, if there is any."""

    def save(self, phase: str, saved: Saved) -> None:
        """Keep the state of ``phase`` after an epoch."""


def run_phase(
    name: str,
    engine: Engine,
    phase: PhaseSettings,
    settings: TrainSettings,
    step: int,
    images: int,
    listener: Listener,
    keeper: Keeper,
) -> list[EpochRecord]:
    """Train for ``phase.epochs`` epochs over ``images`` images, those that ``keeper`` holds excepted.

    An epoch is a function of the state before it, its number and the settings, so that a resumed phase
    ends as an uninterrupted one does. Raises UserError naming step and epoch if the loss is not finite.
    """
    records: list[EpochRecord] = []
    if (saved := keeper.load(name)) is not None:
        engine.unpack(saved.state)
        records = list(saved.records)
        listener.on_resume(len(records))
    for epoch in range(len(records), phase.epochs):
        draws = draw_epoch(images, settings.augmentation, settings.seed, name, step, epoch)
        rate = learning_rate(phase, epoch)
        try:
            means = engine.run_epoch(draws, rate, listener.on_images)
        except UserError as error:
            raise UserError(f"step {step}, epoch {epoch + 1}: {error}") from None
        records.append(EpochRecord(epoch + 1, rate, *means))
        keeper.save(name, Saved(list(records), engine.pack()))
        listener.on_epoch(records[-1])
    return records
