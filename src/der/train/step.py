"""One incremental step (DER, section 3): expand the network, learn the representation, rebalance.

To add a rebalancing, write a function of the run, the network and the step's images, and name it in
der.settings.sections.REBALANCINGS.

# N training images, C classes seen
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import nn

from der.core import randomness, registry
from der.core.errors import UserError, printable
from der.data.arrays import Memory
from der.model import backbones, resnet
from der.model import network as networks
from der.model.checkpoint import FORMAT, RESIZE, Checkpoint, Metadata
from der.model.features import FrozenFeatures, choose_normalization
from der.model.kernels.processor import Kernels
from der.model.network import Network
from der.model.weights import Start
from der.settings import sections
from der.train import convex, log, resume
from der.train.batches import TrainingImages, gather_step
from der.train.engine import StepRun, check_scores, choose_kernels, run_phase
from der.train.objective import ChannelMasks, ClassifierObjective, Distillation, RepresentationObjective

FEW = 10  # images of a class, half of the 20 exemplars that usually represent an old one


@dataclass(frozen=True)
class StepInputs:
    """The inputs of the training of step t."""

    previous: Checkpoint | None  # of step t - 1; None at step 1
    steps: list[list[str]]  # class names in label order, by the step that brought them; the last are new
    images: TrainingImages  # D_t and M_{t-1} (DER, section 3.1)
    network: sections.NetworkSettings
    settings: sections.TrainSettings
    device: torch.device
    start: Start | None = None  # the start weights of step 1, if any; ``network`` then names them
    kernels: Kernels | None = None  # compiled for the processor; None: torch's own operations

    @property
    def recipe(self) -> sections.Recipe:
        return self.settings.recipe(len(self.steps))


class TrainedStep(NamedTuple):
    checkpoint: Checkpoint
    records: list[log.EpochRecord]


def prepare_step(
    previous: Checkpoint | None,
    steps: list[list[str]],
    new_classes: Sequence[NDArray[np.uint8]],
    memory: Memory,
    network: sections.NetworkSettings,
    settings: sections.TrainSettings,
    device: torch.device,
    start: Start | None,
    warn: Callable[[str], None],
    *,
    processes: int = 1,
) -> StepInputs:
    """Gather the step's images (n, H, W, C) and exemplars; ``warn`` tells of few images or no compiler."""
    images = gather_step(new_classes, memory)
    if len(steps) > 1 and settings.incremental.rebalancing == "classifier_learning":
        warn_of_few(steps, images, warn)
    kernels = None
    if processes == 1:  # the kernels normalise by the images of one process
        phase = settings.phase(len(steps))
        kernels = choose_kernels(network, phase, images, settings.precision, device, warn)
    return StepInputs(previous, steps, images, network, settings, device, start, kernels)


def warn_of_few(steps: list[list[str]], images: TrainingImages, warn: Callable[[str], None]) -> None:
    """Warn of a new class with so few images that the balanced subset has hardly any exemplar."""
    counts, old = np.bincount(images.labels), sum(map(len, steps[:-1]))
    rarest = old + int(counts[old:].argmin())
    few = int(counts[rarest])
    if few < min(FEW, counts[:old].min()):
        name = [*chain(*steps)][rarest]
        warn(
            f"training images of class {printable(name)}: {few}, so classifier learning takes only {few} of "
            f"each, {few * len(counts)} of {len(images.labels)}; add some, or write "
            "train.incremental.rebalancing: weight_alignment"
        )


def train_step(inputs: StepInputs, listener: log.Listener, keeper: resume.StateKeeper) -> TrainedStep:
    """Train step t from the checkpoint of step t - 1, which does not change.

    ``listener`` is told of every batch and epoch; ``keeper`` stores state to resume from. Raises UserError
    if a setting names an unknown plug-in, or the plug-in returns an invalid result, and if the loss or the
    trained network's scores are not finite.
    """
    previous, steps, images, settings = inputs.previous, inputs.steps, inputs.images, inputs.settings
    step, name = len(steps), settings.incremental.rebalancing
    rebalance = find_rebalancing(name)
    if name in ("logistic", "lda") and not inputs.network.head_bias:
        raise UserError(f"network.head_bias: false, but rebalancing {name} fits biases; write true")
    if previous is None:  # the identity of what step 1 starts from in place of the file's name
        weights = None if inputs.start is None else inputs.start.identity
        network_settings, before = replace(inputs.network, weights=weights), networks.empty_network()
        normalization = choose_normalization(network_settings, images.channels, images.pixels.chunks())
    else:
        network_settings = replace(inputs.network, weights=previous.metadata.network.weights)
        before, normalization = previous.network, previous.metadata.normalization
    run = StepRun(
        step, before.classes, normalization, settings, inputs.device, listener, keeper, inputs.kernels
    )
    epochs = {log.REPRESENTATION: run.phase.epochs}
    if run.old_classes and settings.incremental.rebalancing == "classifier_learning":
        epochs[log.CLASSIFIER] = settings.incremental.classifier.epochs  # user-defined ones may add others
    listener.on_step(epochs)
    stream = randomness.generator(settings.seed, "initialization", step)
    network = networks.expand(
        before, len(steps[-1]), network_settings, images.channels, stream, inputs.start, images.side
    )
    networks.try_extractor(network, network_settings, images.side, images.channels)
    network, records, trained = learn_representation(run, network, images, network_settings, before.head)
    rebalanced = rebalance(run, network, images) if run.old_classes else Rebalanced([])
    check_scores(network, normalization, images, inputs.device, step)
    metadata = Metadata(
        format=FORMAT,
        steps=steps,
        image_side=images.side,
        channels=images.channels,
        resize=RESIZE,
        normalization=normalization,
        network=network_settings,
        recipes=[*([] if previous is None else previous.metadata.recipes), inputs.recipe],
        shapes=[networks.pruned_shape(extractor) for extractor in network.extractors],
        parameters=networks.count_parameters(network),
        parameters_trained=trained,
        gamma=rebalanced.gamma,
        compressed=None if previous is None else previous.metadata.compressed,
    )
    return TrainedStep(Checkpoint(network.eval(), metadata), [*records, *rebalanced.records])


def learn_representation(
    run: StepRun,
    network: Network,
    images: TrainingImages,
    network_settings: sections.NetworkSettings,
    previous_head: nn.Linear | None = None,
) -> tuple[Network, list[log.EpochRecord], int]:
    """Train the newest extractor and the classifier of ``network`` (DER, sections 3.2 and 3.3).

    The other extractors do not change. With masks, the newest extractor of the result lacks the channels that
    the masks removed. With averaging, all that an extractor's training changes, masks too, becomes its mean
    over the last epochs. Step t - 1's ``previous_head`` is needed where its network is distilled. Returns
    the network, its epochs, and the number of trained parameters, auxiliary classifier and masks included.
    Raises UserError like ``run_phase``, and for a backbone that has no masks.
    """
    *frozen, newest = network.extractors
    settings, phase, count = run.settings, run.phase, len(images.labels)
    masks = None
    if settings.masks is not None:
        backbones.check_masks(network_settings, settings.masks)
        assert isinstance(newest, resnet.ResNet)
        masks = ChannelMasks(newest, settings.masks, randomness.generator(settings.seed, "masks", run.step))
    stream, classes = randomness.generator(settings.seed, "auxiliary classifier", run.step), network.classes
    auxiliary = networks.random_linear(
        newest.features, classes - run.old_classes + 1, network_settings, stream
    )
    auxiliary_weight = settings.incremental.auxiliary_weight if run.old_classes else 0.0
    distillation, weights = None, settings.incremental.distillation
    if frozen and previous_head is not None and weights != sections.NO_DISTILLATION:
        shapes = [(one, networks.pruned_shape(one)) for one in frozen]
        channels = [shape.streams[-1] if shape else [*range(one.features)] for one, shape in shapes]
        distillation = Distillation(weights, previous_head, channels, newest.features)
    learned = newest, network.head, auxiliary, auxiliary_weight
    objective = RepresentationObjective(*learned, masks, distillation)
    averaged = 0 if settings.averaging is None else max(1, round(settings.averaging * phase.epochs))
    engine = run.wire_engine(
        objective, frozen, images, phase, masks, averaged, trunk=network.trunk, mixed=True
    )

    def start_heads_anew() -> None:
        stream = randomness.generator(settings.seed, "heads after warm-up", run.step)
        for head in (network.head, auxiliary):
            backbones.torch_uniform(head, stream)

    when_warm = start_heads_anew if phase.reinitialize_heads else None
    records = run_phase(run, log.REPRESENTATION, engine, phase, count, when_warm)
    if averaged:
        engine.place_means()
    if masks is not None:
        masks.harden()
    if averaged or masks is not None:
        with run.lend(log.REPRESENTATION, engine, phase.epochs):
            engine.estimate_statistics(newest, run.draws(log.REPRESENTATION, count, phase.epochs))
    if masks is not None:
        network = networks.prune_newest(network, masks.shape(), network_settings)
        masks.release()
    engine.release()
    trained = sum(value.numel() for value in objective.parameters() if value.requires_grad)
    return network, records, trained


class Rebalanced(NamedTuple):
    """The results of a rebalancing, besides the changed classifier."""

    records: list[log.EpochRecord]  # of the epochs it took
    gamma: float | None = None  # factor of the new classes' weights, if it only scales them


class Rebalancing(Protocol):
    """A rebalancing: a function that changes the classifier, in place, after representation learning.

    It is called at steps with old classes: the first ``run.old_classes`` labels. ``network.head`` is a
    torch.nn.Linear of weight (classes, features), whose bias is None without network.head_bias; it keeps its
    shape. The rest of ``network`` must not change. ``images`` are the step's: those of new classes, and the
    exemplars of old ones.

    Settings are ``run.settings.incremental``. Draws come from
    ``der.core.randomness.generator(run.settings.seed, purpose, run.step)`` alone. Long training uses
    ``run.wire_engine``, with the network's trunk, and ``der.train.engine.run_phase``, which resumes.
    Logits come from ``der.model.network.run_network``.
    """

    def __call__(self, run: StepRun, network: Network, images: TrainingImages, /) -> Rebalanced: ...


def weight_alignment(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    """Weight alignment (Zhao et al. 2020, "Maintaining Discrimination and Fairness", section 4).

    Multiplies the new classes' rows of the weight by gamma, the mean norm of old rows divided by that of new
    rows; the bias does not change.
    """
    weight, old = network.head.weight, run.old_classes
    with torch.no_grad():
        norms = weight.norm(dim=1)
        gamma = norms[:old].mean() / norms[old:].mean()
        weight[old:] *= gamma
    return Rebalanced([], float(gamma))


def classifier_learning(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    """Draw the classifier again and train it on a balanced subset, extractors frozen (DER, section 3.4)."""
    schedule = run.settings.incremental.classifier
    backbones.torch_uniform(network.head, randomness.generator(run.settings.seed, "classifier", run.step))
    stream = randomness.generator(run.settings.seed, "balanced subset", run.step)
    indices = balanced_subset(images.labels, stream)
    objective = ClassifierObjective(network.head, schedule.temperature)
    balanced, trunk = images.pick(indices), network.trunk
    engine = run.wire_engine(objective, network.extractors, balanced, schedule, trunk=trunk)
    records = run_phase(run, log.CLASSIFIER, engine, schedule, len(indices))
    engine.release()
    return Rebalanced(records)


def refit(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    """Fit the classifier anew to the features of all images: logistic or lda, see der.train.convex."""
    method: sections.ConvexMethod = "lda" if run.settings.incremental.rebalancing == "lda" else "logistic"
    views, frozen = convex.count_views(run.settings), FrozenFeatures(network, run.normalization, run.device)
    classes = [images.pixels.pick(np.flatnonzero(images.labels == label)) for label in range(network.classes)]
    run.listener.on_phase(log.CLASSIFIER, 1, len(images.labels))
    features = [frozen.records([one.copy()], views)[0]["features"] for one in classes]
    fitted, record = convex.fit_classifier(features, method, run.settings.shrinkage)
    place_classifier(network.head, fitted)
    run.listener.on_epoch(record)
    return Rebalanced([record])


@torch.no_grad()
def place_classifier(head: nn.Linear, fitted: convex.Fitted) -> None:
    head.weight.copy_(torch.from_numpy(fitted.weight_KP))
    head.bias.copy_(torch.from_numpy(fitted.bias_K))


def balanced_subset(labels_N: NDArray[np.int64], stream: torch.Generator) -> NDArray[np.int64]:
    """Choose at random as many images of each class as the rarest class has; return sorted indices."""
    rarest = int(np.bincount(labels_N)[np.unique(labels_N)].min())
    groups = [np.flatnonzero(labels_N == label) for label in np.unique(labels_N)]
    chosen = [one[torch.randperm(len(one), generator=stream).numpy()[:rarest]] for one in groups]
    return np.sort(np.concatenate(chosen))


def no_rebalancing(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    """Leave the classifier as it is: an ablation."""
    return Rebalanced([])


def find_rebalancing(name: str) -> Rebalancing:
    """Find the rebalancing of that name; it raises UserError for a result unlike ``Rebalancing``."""
    function: Rebalancing = registry.look_up(
        {}, sections.REBALANCINGS.get(name, name), "train.incremental.rebalancing"
    )

    def checked(run: StepRun, network: Network, images: TrainingImages, /) -> Rebalanced:
        head, shape = network.head, network.head.weight.shape
        before = _digest(network)
        returned = function(run, network, images)
        records = returned.records if isinstance(returned, Rebalanced) else None
        if not isinstance(records, list) or not all(isinstance(one, log.EpochRecord) for one in records):
            fault = f"returns {type(returned).__name__}; return Rebalanced([]), or with the epochs it took"
        elif (network.head, head.weight.shape, _digest(network)) != (head, shape, before):
            fault = "changes more than the classifier's weights in place; change these alone"
        else:
            return returned
        raise UserError(f"train.incremental.rebalancing: {name} {fault}")

    return checked


def _digest(network: Network) -> bytes:
    """Hash all parameters and buffers but the classifier's, in milliseconds per hundred megabytes."""
    found = hashlib.blake2b()
    for name, value in network.state_dict().items():
        if not name.startswith("head."):
            found.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy())
    return found.digest()
