"""A phase of training: an engine run over the epochs of a schedule, resumable after each."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from der.core import distributed
from der.core.device import choose_precision
from der.core.errors import UserError
from der.core.randomness import generator, lending
from der.model.architecture import Normalization
from der.model.kernels.processor import Kernels
from der.model.network import Extractor
from der.settings.training import PhaseSettings, ScheduleSettings, TrainSettings
from der.train.batches import Draws, Feed, TrainingImages, draw_epoch
from der.train.engine import Engine, learning_rate
from der.train.log import EpochRecord, Listener
from der.train.masks import ChannelMasks
from der.train.resume import StateKeeper


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
        """An engine that trains ``objective`` on ``images``, beside the ``frozen`` extractors.

        Raises UserError if the device does not have the precision.
        """
        settings, device = self.settings, self.device
        precision = choose_precision(settings.precision, device, "train.precision")
        feed = Feed(images, frozen, self.normalization, settings.augmentation, precision, device)
        return Engine(objective, feed, schedule, masks, self.kernels)

    def draws(self, phase: str, images: int, epoch: int) -> Draws:
        """Which images an epoch visits, and how it changes them."""
        return draw_epoch(images, self.settings.augmentation, self.settings.seed, phase, self.step, epoch)

    def layer_stream(self, phase: str, epoch: int) -> torch.Generator:
        """What layers draw from in an epoch, as dropout does; every rank has its own."""
        return generator(self.settings.seed, phase, "layers", self.step, epoch, distributed.rank())


def run_phase(
    run: StepRun,
    name: str,
    engine: Engine,
    schedule: ScheduleSettings,
    images: int,
    when_warm: Callable[[], None] | None = None,
) -> list[EpochRecord]:
    """Train for ``schedule.epochs`` epochs over ``images`` images; skip epochs restored from saved state.

    An epoch is a function of the state before it, its index and the settings, so that a resumed phase
    ends as an uninterrupted one does. ``when_warm`` is called before the first epoch after warm-up. Raises
    UserError naming step and epoch if the loss is not finite.
    """
    run.listener.on_phase(name, schedule.epochs, images)
    records: list[EpochRecord] = []
    saved = run.keeper.load(name)  # rank 0's; the workers keep none
    distributed.barrier()  # reading may take longer than a rank has to answer
    if (saved := distributed.broadcast(saved)) is not None:
        engine.unpack(saved.state)
        records = list(saved.records)
        run.listener.on_resume(len(records))
    drawing = engine.may_draw()  # if not, draws of other threads are left alone
    for epoch in range(len(records), schedule.epochs):
        if when_warm is not None and epoch == schedule.warmup_epochs:
            when_warm()
        rate = learning_rate(schedule, epoch)
        try:
            with lending(run.layer_stream(name, epoch), run.device) if drawing else nullcontext():
                means = engine.run_epoch(run.draws(name, images, epoch), rate, run.listener.on_images)
        except UserError as error:
            raise UserError(f"step {run.step}, {name}, epoch {epoch + 1}: {error}") from None
        records.append(EpochRecord(name, epoch + 1, rate, *means))
        run.keeper.save(name, records, engine.pack, last=epoch == schedule.epochs - 1)
        run.listener.on_epoch(records[-1])
        distributed.barrier()  # rank 0 writes state, which may take longer than a rank has to answer
    return records
