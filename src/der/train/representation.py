"""Representation learning of one step (DER, sections 3.2 and 3.3)."""

from typing import NamedTuple

import torch

from der.common.errors import UserError
from der.common.precision import choose_precision
from der.common.randomness import generator
from der.model.network import Network, blank_linear, count_parameters, random_linear, randomize_linear
from der.model.preprocessing import Normalize
from der.model.pruning import copy_channels
from der.model.resnet import ResNet, build_extractor, reduction
from der.settings.network import NetworkSettings
from der.settings.training import PhaseSettings
from der.train.engine import Engine
from der.train.log import EpochRecord
from der.train.masks import ChannelMasks
from der.train.objective import RepresentationObjective
from der.train.phase import StepRun, run_phase
from der.train.training_images import Gatherer, TrainingImages

PHASE = "representation"


class Learned(NamedTuple):
    """What representation learning gives."""

    network: Network
    records: list[EpochRecord]
    parameters: int  # trained, those of the auxiliary classifier and the masks included


def learn_representation(
    run: StepRun, network: Network, images: TrainingImages, network_settings: NetworkSettings
) -> Learned:
    """Train the newest extractor and the classifier of ``network``; the other extractors stay as they are.

    With masks, the newest extractor of the result lacks the channels that they turned off. Raises
    UserError naming step and epoch if the loss is not finite, and naming the parameter that leaves a batch of
    one value per channel.
    """
    *frozen, newest = network.extractors
    settings = run.settings
    phase: PhaseSettings = settings.incremental if run.old_classes else settings.base
    auxiliary = random_linear(
        newest.features,
        network.classes - run.old_classes + 1,
        network_settings.head_bias,
        generator(settings.seed, "auxiliary classifier", run.step),
    )
    masks = None
    if settings.masks is not None:
        masks = ChannelMasks(newest, settings.masks, generator(settings.seed, "masks", run.step))
    count = len(images.labels)
    if 1 in (phase.batch_size, count % phase.batch_size) and images.side <= reduction(network_settings):
        raise UserError(
            f"train.{'incremental' if run.old_classes else 'base'}.batch_size: {phase.batch_size} leaves a "
            f"batch of one of {count} images, too small for batch normalisation at {images.side} pixels; "
            "write another number"
        )
    precision = choose_precision(settings.precision, run.device)
    objective = RepresentationObjective(
        newest,
        network.head,
        auxiliary,
        settings.incremental.auxiliary_weight if run.old_classes else 0.0,
        masks,
    )
    gatherer = Gatherer(images, run.device)
    normalize = Normalize(run.normalization)
    engine = Engine(objective, frozen, gatherer, normalize, settings.augmentation, phase, precision, masks)

    def start_heads_anew() -> None:
        stream = generator(settings.seed, "heads after warm-up", run.step)
        randomize_linear(network.head, stream)
        randomize_linear(auxiliary, stream)

    when_warm = start_heads_anew if phase.reinitialize_heads else None
    records = run_phase(run, PHASE, engine, phase, count, when_warm)
    if masks is not None:
        masks.harden()
        engine.estimate_statistics(newest, run.draws(PHASE, count, phase.epochs))
        network = prune_newest(network, masks, network_settings)
        masks.release()
    engine.release()
    return Learned(network, records, count_parameters(objective))


@torch.no_grad()
def prune_newest(network: Network, masks: ChannelMasks, settings: NetworkSettings) -> Network:
    """The network without the newest extractor's masked channels and the classifier's weights for them."""
    *kept, newest = network.extractors
    shape = masks.shape()
    pruned: ResNet = build_extractor(settings, newest.stem.conv.in_channels, shape)
    copy_channels(newest, pruned)
    old_features = network.head.in_features - newest.features
    columns = [*range(old_features), *(old_features + channel for channel in shape.streams[-1])]
    head = blank_linear(len(columns), network.classes, settings.head_bias)
    head.weight.copy_(network.head.weight[:, columns])
    if settings.head_bias:
        head.bias.copy_(network.head.bias)
    return Network([*kept, pruned], head)
