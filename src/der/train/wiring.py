"""The one place where an engine is put together."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from der.core.precision import choose_precision
from der.model.kernels.processor import Kernels
from der.model.network import Extractor
from der.model.normalization import Normalization
from der.settings.training import AugmentationSettings, ScheduleSettings
from der.train.engine import Engine
from der.train.feed import Feed
from der.train.masks import ChannelMasks
from der.train.training_images import TrainingImages


class Conditions(NamedTuple):
    """What all engines of a step have in common."""

    normalization: Normalization
    augmentation: AugmentationSettings
    precision: str  # as of der.core.precision
    device: torch.device
    kernels: Kernels | None = None  # as of der.train.processor_kernels


def wire_engine(
    objective: nn.Module,
    frozen: Sequence[Extractor],
    images: TrainingImages,
    schedule: ScheduleSettings,
    conditions: Conditions,
    masks: ChannelMasks | None = None,
) -> Engine:
    """An engine that trains ``objective`` on ``images``, beside the ``frozen`` extractors.

    Raises UserError if the device does not have the precision.
    """
    normalization, augmentation, name, device, kernels = conditions
    precision = choose_precision(name, device, "train.precision")
    feed = Feed(images, frozen, normalization, augmentation, precision, device)
    return Engine(objective, feed, schedule, masks, kernels)
