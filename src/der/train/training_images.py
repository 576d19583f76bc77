"""The training images of one step, wherever they lie.

# N images, B batch, H and W pixels, C channels
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from der.data.exemplars import Memory
from der.data.image_rows import ImageRows, every_row, join


@dataclass(frozen=True)
class TrainingImages:
    """N images and their labels (N,) int64."""

    pixels: ImageRows
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert len(self.pixels) == len(self.labels)

    @property
    def side(self) -> int:
        """Pixels of an image's side."""
        return self.pixels.shape[0]

    @property
    def channels(self) -> Literal[1, 3]:
        """1 of grey images, 3 of those in colour."""
        return 3 if self.pixels.shape[2] == 3 else 1

    def pick(self, indices_B: NDArray[np.int64]) -> "TrainingImages":
        """The images with these indices, not copied."""
        return TrainingImages(self.pixels.pick(indices_B), self.labels[indices_B])


def gather_step(new_classes: Sequence[NDArray[np.uint8]], memory: Memory) -> TrainingImages:
    """D_t and M_{t-1} together; new classes are labelled on from the last class in memory."""
    first = len(memory.class_means)
    sizes = [len(images) for images in new_classes]
    new_labels = np.repeat(np.arange(first, first + len(sizes)), sizes)
    images = join([every_row(new_classes), memory.images])
    return TrainingImages(images, np.concatenate([new_labels, memory.labels]))


class Gatherer:
    """Picks training images by index: from the device where they fit, else from their memory maps."""

    def __init__(self, images: TrainingImages, device: torch.device) -> None:
        self.device = device
        self.pixels = images.pixels
        self.values_per_image = math.prod(images.pixels.shape)
        self.labels = torch.from_numpy(images.labels).to(device)
        # On the CPU the memory maps already are the device's memory.
        fits = device.type != "cpu" and len(images.labels) * self.values_per_image <= _room(device)
        self.resident = copy_to(self.pixels, device) if fits else None

    def expect(self, indices_B: Tensor) -> None:
        """Say which images will be asked for next, lest the disk be waited for."""
        if self.resident is None:
            self.pixels.expect(indices_B.numpy())

    def __call__(self, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, H, W, C) uint8 and labels (B,) int64 on the device; ``indices_B`` is on the CPU."""
        on_device = upload(indices_B, self.device)
        if self.resident is not None:
            return self.resident[on_device], self.labels[on_device]
        images_BHWC = self.pixels.read(indices_B.numpy())
        return upload(torch.from_numpy(images_BHWC), self.device), self.labels[on_device]


def copy_to(images: ImageRows, device: torch.device) -> Tensor:
    """All images (N, H, W, C) on ``device``, of which some megabytes at a time are here."""
    placed = torch.empty(len(images), *images.shape, dtype=torch.uint8, device=device)
    at = 0
    for part in images.parts():
        placed[at : at + len(part)] = torch.from_numpy(part)
        at += len(part)
    return placed


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``, without making the host wait for a GPU."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _room(device: torch.device) -> int:
    """Bytes that images may take on a GPU: a quarter of what is free, 1 GB where torch cannot tell."""
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 2**30
