"""The training images of one step, wherever they lie.

# N images, B batch, H and W pixels, C channels
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from der.memory.exemplars import Memory


@dataclass(frozen=True)
class TrainingImages:
    """Images (N, H, W, C) uint8 in several arrays, one after the other, with labels (N,) int64."""

    arrays: Sequence[NDArray[np.uint8]]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert sum(map(len, self.arrays)) == len(self.labels)


def gather_step(new_classes: Sequence[NDArray[np.uint8]], memory: Memory) -> TrainingImages:
    """D_t and M_{t-1} together; new classes are labelled on from the last class in memory."""
    first = len(memory.class_means)
    sizes = [len(images) for images in new_classes]
    new_labels = np.repeat(np.arange(first, first + len(sizes)), sizes)
    if not len(memory.labels):
        return TrainingImages(new_classes, new_labels)
    return TrainingImages([*new_classes, memory.images], np.concatenate([new_labels, memory.labels]))


class Gatherer:
    """Picks training images by number, from the device where they fit."""

    def __init__(self, images: TrainingImages, device: torch.device) -> None:
        self.images = torch.from_numpy(np.concatenate(images.arrays)).to(device)
        self.labels = torch.from_numpy(images.labels).to(device)
        self.values_per_image = self.images[0].numel()

    def __call__(self, numbers_B: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, H, W, C) uint8 and labels (B,) int64 on the device."""
        return self.images[numbers_B], self.labels[numbers_B]
