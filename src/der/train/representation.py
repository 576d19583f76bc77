"""Representation learning of one step (DER, section 3.2)."""

from typing import NamedTuple

import torch

from der.common.settings import PhaseSettings, TrainSettings
from der.model.network import Network, count_parameters, random_linear
from der.model.preprocessing import Normalization, Normalize
from der.randomness import generator
from der.train.engine import Engine
from der.train.images import Gatherer, TrainingImages
from der.train.log import EpochRecord
from der.train.objective import RepresentationObjective
from der.train.phase import Keeper, Listener, run_phase
from der.train.precision import choose_precision


class Learned(NamedTuple):
    """What representation learning reports."""

    records: list[EpochRecord]
    parameters: int  # trained, those of the auxiliary classifier included


def learn_representation(
    network: Network,
    old_classes: int,
    images: TrainingImages,
    normalization: Normalization,
    settings: TrainSettings,
    device: torch.device,
    listener: Listener,
    keeper: Keeper,
) -> Learned:
    """Train the newest extractor and the classifier of ``network`` in place; the others stay as they are.

    ``listener`` hears of every batch and epoch; ``keeper`` holds state to go on from. Raises UserError
    naming step and epoch if the loss is not finite.
    """
    *frozen, newest = network.extractors
    step = len(network.extractors)
    phase: PhaseSettings = settings.incremental if old_classes else settings.base
    new_classes = network.classes - old_classes
    auxiliary = random_linear(
        newest.features, new_classes + 1, generator(settings.seed, "auxiliary classifier", step)
    )
    precision = choose_precision(settings.precision, device)
    objective = RepresentationObjective(
        newest,
        network.head,
        auxiliary,
        settings.incremental.auxiliary_weight if old_classes else 0.0,
        precision.autocast,
    )
    gatherer = Gatherer(images, device)
    normalize = Normalize(normalization)
    engine = Engine(objective, frozen, gatherer, normalize, settings.augmentation, phase, precision)
    count = len(images.labels)
    records = run_phase("representation", engine, phase, settings, step, count, listener, keeper)
    engine.release()
    return Learned(records, count_parameters(objective))
