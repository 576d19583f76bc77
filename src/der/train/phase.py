"""A phase of training: an engine run over the epochs of a schedule, resumable after each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from der.common.errors import UserError
from der.model.extractor import Extractor
from der.model.pixel_statistics import Normalization
from der.settings.training import PhaseSettings, ScheduleSettings, TrainSettings
from der.train.augmentation import Draws, draw_epoch
from der.train.engine import Engine
from der.train.log import EpochRecord
from der.train.masks import ChannelMasks
from der.train.resume.store import Saved
from der.train.schedule import learning_rate
from der.train.training_images import TrainingImages
from der.train.wiring import Conditions, wire_engine


class Listener(Protocol):
    """Hears how training goes on."""

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """A phase of ``epochs`` epochs over ``images`` images begins."""

    def on_resume(self, epochs: int) -> None:
        """The first ``epochs`` epochs of the phase were done by an earlier run."""

    def on_images(self, images: int) -> None:
        """A batch of ``images`` was trained on."""

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""


class StateKeeper(Protocol):
    """Holds the state to go on from; see der.train.resume.store.StateStore."""

    def load(self, phase: str) -> Saved | None:
        """The newest state of ``phase``, if there is any."""

    def save(self, phase: str, records: list[EpochRecord], pack: Callable[[], Tensor], *, last: bool) -> None:
        """Keep the state of ``phase`` after an epoch, which ``pack`` copies; surely after the ``last``."""


@dataclass(frozen=True)
class StepRun:
    """What all phases of one step share."""

    step: int  # counted from 1
    old_classes: int
    normalization: Normalization
    settings: TrainSettings
    device: torch.device
    listener: Listener
    keeper: StateKeeper

    @property
    def phase(self) -> PhaseSettings:
        """How the representation is learned at this step."""
        return self.settings.incremental if self.old_classes else self.settings.base

    def wire_engine(
        self,
        objective: nn.Module,
        frozen: Sequence[Extractor],
        images: TrainingImages,
        schedule: ScheduleSettings,
        masks: ChannelMasks | None = None,
    ) -> Engine:
        """An engine of this step: ``wire_engine`` under its conditions."""
        settings = self.settings
        conditions = Conditions(self.normalization, settings.augmentation, settings.precision, self.device)
        return wire_engine(objective, frozen, images, schedule, conditions, masks)

    def draws(self, phase: str, images: int, epoch: int) -> Draws:
        """Which images an epoch visits, and how it changes them."""
        return draw_epoch(images, self.settings.augmentation, self.settings.seed, phase, self.step, epoch)


def run_phase(
    run: StepRun,
    name: str,
    engine: Engine,
    phase: ScheduleSettings,
    images: int,
    when_warm: Callable[[], None] | None = None,
) -> list[EpochRecord]:
    """Train for ``phase.epochs`` epochs over ``images`` images, those that the keeper holds excepted.

    An epoch is a function of the state before it, its number and the settings, so that a resumed phase
    ends as an uninterrupted one does. ``when_warm`` is called before the first epoch after warm-up. Raises
    UserError naming step and epoch if the loss is not finite.
    """
    run.listener.on_phase(name, phase.epochs, images)
    records: list[EpochRecord] = []
    if (saved := run.keeper.load(name)) is not None:
        engine.unpack(saved.state)
        records = list(saved.records)
        run.listener.on_resume(len(records))
    for epoch in range(len(records), phase.epochs):
        if when_warm is not None and epoch == phase.warmup_epochs:
            when_warm()
        rate = learning_rate(phase, epoch)
        try:
            means = engine.run_epoch(run.draws(name, images, epoch), rate, run.listener.on_images)
        except UserError as error:
            raise UserError(f"step {run.step}, {name}, epoch {epoch + 1}: {error}") from None
        records.append(EpochRecord(name, epoch + 1, rate, *means))
        run.keeper.save(name, records, engine.pack, last=epoch == phase.epochs - 1)
        run.listener.on_epoch(records[-1])
    return records
