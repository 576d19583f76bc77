"""Representation learning of one step (DER, section 3.2)."""

from typing import Protocol

import torch

from der.common.errors import UserError
from der.common.settings import PhaseSettings, TrainSettings
from der.model.network import Network, count_parameters, random_linear
from der.model.preprocessing import Normalization, Normalize
from der.randomness import generator
from der.train.augmentation import draw_epoch
from der.train.engine import Engine
from der.train.images import Gatherer, TrainingImages
from der.train.log import EpochRecord
from der.train.objective import RepresentationObjective
from der.train.schedule import learning_rate


class Listener(Protocol):
    """Hears how training goes on."""

    def on_images(self, images: int) -> None:
        """A batch of ``images`` was trained on."""

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""


def learn_representation(
    network: Network,
    old_classes: int,
    images: TrainingImages,
    normalization: Normalization,
    settings: TrainSettings,
    device: torch.device,
    listener: Listener,
) -> int:
    """Train the newest extractor and the classifier of ``network`` in place; the others stay as they are.

    ``listener`` hears of every batch and epoch. Returns the number of parameters trained, those of the
    auxiliary classifier included. Raises UserError naming step and epoch if the loss is not finite.
    """
    *frozen, newest = network.extractors
    step = len(network.extractors)
    phase: PhaseSettings = settings.incremental if old_classes else settings.base
    new_classes = network.classes - old_classes
    auxiliary = random_linear(
        newest.features, new_classes + 1, generator(settings.seed, "auxiliary classifier", step)
    )
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")
    objective = RepresentationObjective(
        newest,
        network.head,
        auxiliary,
        settings.incremental.auxiliary_weight if old_classes else 0.0,
        autocast,
    )
    gatherer = Gatherer(images, device)
    normalize = Normalize(normalization)
    engine = Engine(objective, frozen, gatherer, normalize, settings.augmentation, phase, autocast)
    for epoch in range(phase.epochs):
        draws = draw_epoch(len(images.labels), settings.augmentation, settings.seed, step, epoch)
        rate = learning_rate(phase, epoch)
        try:
            means = engine.run_epoch(draws, rate, listener.on_images)
        except UserError as error:
            raise UserError(f"step {step}, epoch {epoch + 1}: {error}") from None
        listener.on_epoch(EpochRecord(epoch + 1, rate, *means))
    return count_parameters(objective)
