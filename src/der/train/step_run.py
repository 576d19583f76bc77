"""What all phases of a step share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from der.core import ranks
from der.core.randomness import generator
from der.model.kernels.processor import Kernels
from der.model.network import Extractor
from der.model.normalization import Normalization
from der.settings.training import PhaseSettings, ScheduleSettings, TrainSettings
from der.train.augmentation import Draws, draw_epoch
from der.train.engine import Engine
from der.train.log import EpochRecord
from der.train.masks import ChannelMasks
from der.train.resume.state import Saved
from der.train.training_images import TrainingImages
from der.train.wiring import Conditions, wire_engine
from der.train.workload import StepWork


class Listener:
    """Hears how training goes on; this one does nothing, others override what they want to hear of."""

    def on_step(self, work: StepWork) -> None:
        """A step begins, of which these phases are planned."""

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


class NoState:
    """A StateKeeper that keeps nothing: an interrupted step begins anew."""

    def load(self, phase: str) -> Saved | None:
        """None."""
        return None

    def save(self, phase: str, records: list[EpochRecord], pack: Callable[[], Tensor], *, last: bool) -> None:
        """Nothing."""


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
    kernels: Kernels | None = None  # of a processor; None: torch's own operations

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
        conditions = Conditions(
            self.normalization, settings.augmentation, settings.precision, self.device, self.kernels
        )
        return wire_engine(objective, frozen, images, schedule, conditions, masks)

    def draws(self, phase: str, images: int, epoch: int) -> Draws:
        """Which images an epoch visits, and how it changes them."""
        return draw_epoch(images, self.settings.augmentation, self.settings.seed, phase, self.step, epoch)

    def own_stream(self, phase: str, epoch: int) -> torch.Generator:
        """What layers draw from in an epoch, as dropout does; every rank from one of its own."""
        return generator(self.settings.seed, phase, "layers", self.step, epoch, ranks.rank())
