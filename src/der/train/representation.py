"""Representation learning of one step (DER, sections 3.2 and 3.3)."""

from typing import NamedTuple

from der.core.cores import turn
from der.core.errors import UserError
from der.core.randomness import generator
from der.model.backbones import check_masks, torch_uniform
from der.model.network import Extractor, Network, count_trained, prune_newest, random_linear, takes_one_image
from der.model.resnet import ResNet
from der.settings.network import NetworkSettings
from der.train.log import REPRESENTATION, EpochRecord
from der.train.masks import ChannelMasks
from der.train.objective import ClassifierObjective, RepresentationObjective
from der.train.phase import run_phase
from der.train.step_run import StepRun
from der.train.training_images import TrainingImages


class LearnedRepresentation(NamedTuple):
    """What representation learning gives."""

    network: Network
    records: list[EpochRecord]
    parameters: int  # trained, those of the auxiliary classifier and the masks included


def learn_representation(
    run: StepRun, network: Network, images: TrainingImages, network_settings: NetworkSettings
) -> LearnedRepresentation:
    """Train the newest extractor and the classifier of ``network``; the other extractors stay as they are.

    With masks, the newest extractor of the result lacks the channels that they turned off. Raises
    UserError naming step and epoch if the loss is not finite, and naming the parameter that leaves a batch of
    one value per channel or asks for masks that the backbone does not have.
    """
    if network_settings.tuned == "none":
        return learn_classifier_alone(run, network, images)
    *frozen, newest = network.extractors
    check_batches(run, newest, images)
    settings = run.settings
    masks = draw_masks(run, newest, network_settings)
    auxiliary = random_linear(
        newest.features,
        network.classes - run.old_classes + 1,
        network_settings,
        generator(settings.seed, "auxiliary classifier", run.step),
    )
    auxiliary_weight = settings.incremental.auxiliary_weight if run.old_classes else 0.0
    objective = RepresentationObjective(newest, network.head, auxiliary, auxiliary_weight, masks)
    engine = run.wire_engine(objective, frozen, images, run.phase, masks)

    def start_heads_anew() -> None:
        stream = generator(settings.seed, "heads after warm-up", run.step)
        torch_uniform(network.head, stream)
        torch_uniform(auxiliary, stream)

    count = len(images.labels)
    when_warm = start_heads_anew if run.phase.reinitialize_heads else None
    records = run_phase(run, REPRESENTATION, engine, run.phase, count, when_warm)
    if masks is not None:
        masks.harden()
        with turn(run.device):
            engine.estimate_statistics(newest, run.draws(REPRESENTATION, count, run.phase.epochs))
        network = prune_newest(network, masks.shape(), network_settings)
        masks.release()
    engine.release()
    return LearnedRepresentation(network, records, count_trained(objective))


def learn_classifier_alone(run: StepRun, network: Network, images: TrainingImages) -> LearnedRepresentation:
    """Train the classifier of ``network``, in place, on the features of extractors that stay as they are."""
    objective = ClassifierObjective(network.head, temperature=1.0)
    engine = run.wire_engine(objective, network.extractors, images, run.phase)

    def start_head_anew() -> None:
        torch_uniform(network.head, generator(run.settings.seed, "heads after warm-up", run.step))

    when_warm = start_head_anew if run.phase.reinitialize_heads else None
    records = run_phase(run, REPRESENTATION, engine, run.phase, len(images.labels), when_warm)
    engine.release()
    return LearnedRepresentation(network, records, count_trained(objective))


def check_batches(run: StepRun, extractor: Extractor, images: TrainingImages) -> None:
    """Raise UserError if a batch would have one value per channel, which batch normalisation cannot take."""
    size, count = run.phase.batch_size, len(images.labels)
    if 1 in (size, count % size) and not takes_one_image(extractor, images.side, images.channels):
        raise UserError(
            f"train.{'incremental' if run.old_classes else 'base'}.batch_size: {size} leaves a "
            f"batch of one of {count} images, too small for batch normalisation at {images.side} pixels; "
            "write another number"
        )


def draw_masks(run: StepRun, extractor: Extractor, settings: NetworkSettings) -> ChannelMasks | None:
    """The masks of the new extractor at their start, if the step is to have any."""
    if run.settings.masks is None:
        return None
    check_masks(settings, run.settings.masks)
    assert isinstance(extractor, ResNet)
    return ChannelMasks(extractor, run.settings.masks, generator(run.settings.seed, "masks", run.step))
