"""One incremental step, whole: expand, learn the representation, rebalance the classifier."""

from typing import NamedTuple

import numpy as np
import torch
from msgspec.structs import replace

from der.core.errors import UserError
from der.core.randomness import generator
from der.model.backbones import choose_backbone
from der.model.checkpoint import FORMAT, RESIZE, Checkpoint, Metadata
from der.model.forward import run_network
from der.model.kernels.processor import Kernels
from der.model.network import Network, count_parameters, empty_network, expand, pruned_shape, try_extractor
from der.model.normalization import Normalization, measure_normalization
from der.model.weights import Start
from der.settings.network import NetworkSettings
from der.settings.training import Recipe, TrainSettings
from der.train.log import EpochRecord
from der.train.rebalancing.checking import find_rebalancing
from der.train.rebalancing.registry import Rebalanced
from der.train.representation import LearnedRepresentation, learn_representation
from der.train.step_run import Listener, StateKeeper, StepRun
from der.train.training_images import TrainingImages
from der.train.workload import plan_step

CHECKED = 64  # images that a trained network is tried on


class TrainedStep(NamedTuple):
    """What a step leaves behind."""

    checkpoint: Checkpoint
    records: list[EpochRecord]


def train_step(
    previous: Checkpoint | None,
    steps: list[list[str]],
    images: TrainingImages,
    network_settings: NetworkSettings,
    settings: TrainSettings,
    device: torch.device,
    listener: Listener,
    keeper: StateKeeper,
    start: Start | None = None,
    kernels: Kernels | None = None,
) -> TrainedStep:
    """The checkpoint of step t from that of step t - 1, None at step 1; ``previous`` is left as it was.

    ``start`` is what step 1 starts from, if not at random: the settings then name it, in a way of their own.

    ``steps`` holds all class names in label order, by the step that brought them, this one's last;
    ``images`` are D_t and M_{t-1} (DER, section 3.1).

    ``listener`` hears of every batch and epoch; ``keeper`` holds state to go on from; ``kernels`` are what
    ``der.train.processor_kernels`` chose. Raises UserError naming a parameter that stands for nothing or for
    a function that returns what it should not, step and epoch if the loss is not finite, or the step if the
    trained network's scores are not.
    """
    step = len(steps)
    channels = images.channels
    rebalance = find_rebalancing(settings.incremental.rebalancing)
    before = empty_network() if previous is None else previous.network
    network_settings = name_start(network_settings, previous, start)
    normalization = choose_normalization(previous, network_settings, images)
    run = StepRun(step, before.classes, normalization, settings, device, listener, keeper, kernels)
    per_class = np.bincount(images.labels).tolist()
    listener.on_step(plan_step(step, per_class, settings, expansion=network_settings.grows))
    stream = generator(settings.seed, "initialization", step)
    network = expand(before, len(steps[-1]), network_settings, channels, stream, start)
    try_extractor(network.extractors[-1], network_settings, images.side, channels)
    learned = learn_representation(run, network, images, network_settings)
    network = learned.network
    rebalanced = rebalance(run, network, images) if run.old_classes else Rebalanced([])
    check_scores(network, normalization, images, device, step)
    recipes = [*([] if previous is None else previous.metadata.recipes), settings.recipe(step)]
    metadata = describe(learned, steps, images, normalization, network_settings, recipes, rebalanced.gamma)
    return TrainedStep(Checkpoint(network.eval(), metadata), [*learned.records, *rebalanced.records])


def describe(
    learned: LearnedRepresentation,
    steps: list[list[str]],
    images: TrainingImages,
    normalization: Normalization,
    network_settings: NetworkSettings,
    recipes: list[Recipe],
    gamma: float | None,
) -> Metadata:
    """The metadata of a trained network: ``recipes`` are those of all steps, ``gamma`` is of this one."""
    network = learned.network
    return Metadata(
        format=FORMAT,
        steps=steps,
        image_side=images.side,
        channels=images.channels,
        resize=RESIZE,
        normalization=normalization,
        network=network_settings,
        recipes=recipes,
        shapes=[pruned_shape(extractor) for extractor in network.extractors],
        parameters=count_parameters(network),
        parameters_trained=learned.parameters,
        gamma=gamma,
    )


def check_scores(
    network: Network, normalization: Normalization, images: TrainingImages, device: torch.device, step: int
) -> None:
    """Raise UserError unless the network gives numbers: the last update of all may have diverged."""
    sample = images.pixels.read(np.arange(min(CHECKED, len(images.labels))))
    if not np.isfinite(run_network(network.to(device), normalization, sample, device).logits).all():
        raise UserError(
            f"step {step}: the trained network's scores are not finite; lower the learning rate or check the "
            "images"
        )


def choose_normalization(
    previous: Checkpoint | None, settings: NetworkSettings, images: TrainingImages
) -> Normalization:
    """That of step t - 1; at step 1 as configured, else the backbone's, else of its training images."""
    if previous is not None:
        return previous.metadata.normalization
    if settings.mean is not None and settings.std is not None:
        return Normalization(settings.mean, settings.std)
    expected = choose_backbone(settings).normalization
    if expected is not None and len(expected.mean) == images.channels:
        return expected
    return measure_normalization(images.pixels.parts())


def name_start(
    settings: NetworkSettings, previous: Checkpoint | None, start: Start | None
) -> NetworkSettings:
    """``settings`` with the identity of what step 1 started from in place of the file's name."""
    if previous is not None:
        return replace(settings, weights=previous.metadata.network.weights)
    return replace(settings, weights=None if start is None else start.identity)
