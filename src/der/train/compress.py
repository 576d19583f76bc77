"""Compression: one extractor that learns the whole network's outputs, and how much faster it is.

# N images, B batch, H and W pixels, C channels of an image or classes seen, P features of the whole network
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor, nn

from der.model import network as networks
from der.model.architecture import Normalization
from der.model.checkpoint import Checkpoint
from der.model.kernels.processor import Kernels
from der.settings.sections import CompressSettings, TrainSettings
from der.train import log, step
from der.train.batches import TrainingImages
from der.train.engine import StepRun, run_phase
from der.train.objective import Loss, cross_entropy, share_correct
from der.train.resume import StateKeeper

COMPRESSION = "compression"  # the phase
ROUNDS = 7  # passes that are timed; an odd number


class CompressionObjective(nn.Module):
    """Balanced distillation (Wang et al., ECCV 2022, FOSTER, "Feature Compression").

    The loss is the cross-entropy between the softmax of the whole network and that of the student, both at a
    temperature. Before, the whole network's probabilities are multiplied by ``weights_C`` and divided by
    their sum. True labels have no effect.
    """

    weights: Tensor

    def __init__(
        self, extractor: nn.Module, head: nn.Linear, whole: nn.Linear, weights_C: Tensor, temperature: float
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head
        self.whole = copy.deepcopy(whole).requires_grad_(False)
        self.register_buffer("weights", weights_C, persistent=False)
        self.temperature = temperature

    def forward(self, images_BCHW: Tensor, frozen_BP: Tensor, labels_B: Tensor, position: Tensor) -> Loss:
        """Compute the loss of normalised images and of the whole network's features of them."""
        soft_BC = (self.whole(frozen_BP) / self.temperature).softmax(dim=1) * self.weights
        soft_BC = soft_BC / soft_BC.sum(dim=1, keepdim=True)
        logits_BC = self.head(self.extractor(images_BCHW))
        total = cross_entropy(logits_BC / self.temperature, soft_BC)
        return Loss(total, torch.zeros_like(total), share_correct(logits_BC, labels_B))


def class_weights(labels_N: NDArray[np.int64], beta: float) -> Tensor:
    """Weigh classes (C,) by one over their effective number of images, with a mean of 1.

    The effective number of n images is (1 - beta^n) / (1 - beta) (Cui et al., CVPR 2019, section 3).
    """
    weights_C = (1 - beta) / (1 - np.power(beta, np.bincount(labels_N)))
    return torch.from_numpy(weights_C / weights_C.mean()).float()


@dataclass(frozen=True)
class CompressInputs:
    """The inputs of the compression of a step's network."""

    checkpoint: Checkpoint  # of the whole network
    images: TrainingImages  # of all classes seen
    settings: CompressSettings
    train: TrainSettings  # of which seed, precision and augmentation have an effect
    device: torch.device
    kernels: Kernels | None = None  # compiled for the processor; None: torch's own operations


def compress(inputs: CompressInputs, listener: log.Listener, keeper: StateKeeper) -> Checkpoint:
    """Train one extractor and its classifier on the outputs of the whole network, which does not change.

    They start as F_1, with the channels that pruning left it, and as the part of the classifier that reads
    F_1's features. A network of one extractor is returned as it is. Raises UserError like ``train_step``.
    """
    whole, settings = inputs.checkpoint.network, replace(inputs.settings, steps=None)
    metadata, images, device = inputs.checkpoint.metadata, inputs.images, inputs.device
    if len(whole.extractors) == 1:
        return Checkpoint(whole, replace(metadata, compressed=settings))
    run = StepRun(
        step=len(metadata.steps),
        old_classes=0,
        normalization=metadata.normalization,
        settings=inputs.train,
        device=device,
        listener=listener,
        keeper=keeper,
        kernels=inputs.kernels,
    )
    extractor = copy.deepcopy(whole.extractors[0])
    step.check_batches(settings.batch_size, "compress", extractor, images)
    head = networks.blank_linear(extractor.features, whole.classes, whole.head.bias is not None)
    with torch.no_grad():
        head.weight.copy_(whole.head.weight[:, : extractor.features])
        if whole.head.bias is not None:
            head.bias.copy_(whole.head.bias)
    weights_C = class_weights(images.labels, settings.beta)
    objective = CompressionObjective(extractor, head, whole.head, weights_C, settings.temperature)
    engine = run.wire_engine(objective, whole.extractors, images, settings)
    listener.on_step({COMPRESSION: settings.epochs})
    run_phase(run, COMPRESSION, engine, settings, len(images.labels))
    engine.release()
    network = networks.Network([extractor], head)
    step.check_scores(network, metadata.normalization, images, device, run.step)
    compressed = replace(
        metadata,
        shapes=metadata.shapes[:1],
        parameters=networks.count_parameters(network),
        parameters_trained=sum(one.numel() for one in objective.parameters() if one.requires_grad),
        gamma=None,
        compressed=settings,
    )
    return Checkpoint(network.eval(), compressed)


def seconds_per_image(
    several: Sequence[networks.Network],
    normalization: Normalization,
    images: NDArray[np.uint8],
    device: torch.device,
) -> list[float]:
    """Time the folded networks in turn on images (N, H, W, C); return each one's median of ROUNDS passes."""
    folded = [networks.fold_network(one, device) for one in several]
    seconds: list[list[float]] = []
    for _ in range(1 + ROUNDS):
        seconds.append([])
        for network in folded:
            begin = time.perf_counter()
            networks.run_network(network, normalization, images, device)
            seconds[-1].append((time.perf_counter() - begin) / len(images))
    return np.median(seconds[1:], axis=0).tolist()  # type: ignore[no-any-return]  # the first warms up
