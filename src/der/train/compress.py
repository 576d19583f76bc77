"""Compression: one extractor learns the whole network's outputs.

# N images, B batch, C classes seen, P features of the whole network
"""

import copy
import dataclasses
import time
from collections.abc import Mapping

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor, nn

from der.data.arrays import Memory
from der.model import network as networks
from der.model.architecture import class_mean
from der.model.checkpoint import Checkpoint
from der.settings.sections import CompressSettings
from der.train.batches import TrainingImages
from der.train.engine import StepRun, check_scores, run_phase
from der.train.objective import Loss, cross_entropy, share_correct

COMPRESSION = "compression"  # the phase
ROUNDS = 7  # passes that are timed


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
        self.extractor, self.head = extractor, head
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


def compress(
    run: StepRun, checkpoint: Checkpoint, images: TrainingImages, settings: CompressSettings
) -> Checkpoint:
    """Train one extractor and its classifier on the outputs of the network, which does not change.

    They start as F_1, with the channels that pruning left it, and as the part of the classifier that reads
    F_1's features. A network of one extractor is returned as it is. ``images`` are of all classes; seed,
    precision and augmentation are those of ``run``. Raises UserError like ``train_step``.
    """
    whole, metadata = checkpoint.network, replace(checkpoint.metadata, compressed=settings)
    if len(whole.extractors) == 1:
        return Checkpoint(whole, metadata)
    schedule, extractor = settings.schedule, copy.deepcopy(whole.extractors[0])
    head = copy.deepcopy(whole.head)
    head.in_features = extractor.features
    head.weight = nn.Parameter(head.weight[:, : head.in_features].detach().clone())
    network = networks.Network([extractor], head, whole.trunk)
    weights_C = class_weights(images.labels, settings.beta)
    objective = CompressionObjective(extractor, head, whole.head, weights_C, settings.temperature)
    run.listener.on_step({COMPRESSION: schedule.epochs})
    engine = run.wire_engine(objective, whole.extractors, images, schedule, trunk=whole.trunk)
    run_phase(run, COMPRESSION, engine, schedule, len(images.labels))
    engine.release()
    check_scores(network.eval(), run.normalization, images, run.device, run.step)
    trained = sum(one.numel() for one in objective.parameters() if one.requires_grad)
    sizes = {"parameters": networks.count_parameters(network), "parameters_trained": trained}
    return Checkpoint(network, replace(metadata, shapes=metadata.shapes[:1], **sizes, gamma=None))


def with_own_means(memory: Memory, checkpoint: Checkpoint, device: torch.device) -> Memory:
    """Return ``memory`` with the class means that the network's own features of the exemplars have."""
    features = networks.features_of(checkpoint.network, checkpoint.metadata.normalization, device)
    exemplars = (memory.of_class(label).copy() for label in range(len(memory.class_means)))
    return dataclasses.replace(memory, class_means=np.stack([*map(class_mean, features(exemplars))]))


def seconds_per_image(
    several: Mapping[str, Checkpoint], images: TrainingImages, device: torch.device
) -> dict[str, float]:
    """Time the folded networks in turn on some of the images; return each one's median of ROUNDS passes."""
    folded = [networks.fold_network(one.network, device) for one in several.values()]
    (normalization, *_) = (one.metadata.normalization for one in several.values())
    count = min(networks.images_per_pass(int(np.prod(images.pixels.shape))), len(images.labels))
    some, seconds = images.pixels.read(np.arange(count)), np.empty((1 + ROUNDS, len(folded)))
    for index in np.ndindex(seconds.shape):
        begin = time.perf_counter()
        networks.run_network(folded[index[1]], normalization, some, device)
        seconds[index] = (time.perf_counter() - begin) / count
    return dict(zip(several, np.median(seconds[1:], axis=0).tolist(), strict=True))  # the first warms up
