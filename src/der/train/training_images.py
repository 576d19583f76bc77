"""The training images of one step, wherever they lie.

# N images, B batch, H and W pixels, C channels
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from der.common.mapped import HELD, chunks, expect, release
from der.data.exemplars import Memory


@dataclass(frozen=True)
class TrainingImages:
    """Images (N, H, W, C) uint8 in several arrays, one after the other, with labels (N,) int64."""

    arrays: Sequence[NDArray[np.uint8]]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert sum(map(len, self.arrays)) == len(self.labels)

    @property
    def side(self) -> int:
        """Pixels of an image's side."""
        return int(self.arrays[0].shape[1])

    @property
    def channels(self) -> int:
        """1 of grey images, 3 of those in colour."""
        return int(self.arrays[0].shape[3])

    def read(self, indices_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images (B, H, W, C) with these indices."""
        starts = np.cumsum([0, *map(len, self.arrays)])
        picked = np.empty((len(indices_B), *self.arrays[0].shape[1:]), np.uint8)
        owners = np.searchsorted(starts, indices_B, side="right") - 1
        for owner in np.unique(owners):
            places = np.flatnonzero(owners == owner)
            picked[places] = self.arrays[owner][indices_B[places] - starts[owner]]
        return picked

    def expect(self, indices_B: NDArray[np.int64]) -> None:
        """Have the system read the images with these indices ahead, where they lie on disk."""
        starts = np.cumsum([0, *map(len, self.arrays)])
        owners = np.searchsorted(starts, indices_B, side="right") - 1
        for owner in np.unique(owners):
            expect(self.arrays[owner], indices_B[owners == owner] - starts[owner])

    def release(self) -> None:
        """Give back the memory of images that were read from disk."""
        for array in self.arrays:
            release(array)

    def pick(self, indices_B: NDArray[np.int64]) -> "TrainingImages":
        """A copy of the images with these indices."""
        return TrainingImages([self.read(indices_B)], self.labels[indices_B])


def gather_step(new_classes: Sequence[NDArray[np.uint8]], memory: Memory) -> TrainingImages:
    """D_t and M_{t-1} together; new classes are labelled on from the last class in memory."""
    first = len(memory.class_means)
    sizes = [len(images) for images in new_classes]
    new_labels = np.repeat(np.arange(first, first + len(sizes)), sizes)
    if not len(memory.labels):
        return TrainingImages(new_classes, new_labels)
    return TrainingImages([*new_classes, memory.images], np.concatenate([new_labels, memory.labels]))


class Gatherer:
    """Picks training images by index: from the device where they fit, else from their memory maps."""

    def __init__(self, images: TrainingImages, device: torch.device) -> None:
        self.device = device
        self.images = images
        self.values_per_image = images.arrays[0][0].size
        self.labels = torch.from_numpy(images.labels).to(device)
        # On the CPU the memory maps already are the device's memory.
        fits = device.type != "cpu" and len(images.labels) * self.values_per_image <= _room(device)
        self.resident = copy_to(images.arrays, device) if fits else None
        self.held = 0  # bytes read since memory was given back

    def expect(self, indices_B: Tensor) -> None:
        """Say which images will be asked for next, lest the disk be waited for."""
        if self.resident is None:
            self.images.expect(indices_B.numpy())

    def __call__(self, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, H, W, C) uint8 and labels (B,) int64 on the device; ``indices_B`` is on the CPU."""
        on_device = upload(indices_B, self.device)
        if self.resident is not None:
            return self.resident[on_device], self.labels[on_device]
        images_BHWC = self.images.read(indices_B.numpy())
        self.held += images_BHWC.nbytes
        if self.held > HELD:
            self.images.release()
            self.held = 0
        return upload(torch.from_numpy(images_BHWC), self.device), self.labels[on_device]


def copy_to(arrays: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """The images (N, H, W, C) of all ``arrays`` on ``device``, of which some megabytes at a time are here."""
    placed = torch.empty(sum(map(len, arrays)), *arrays[0].shape[1:], dtype=torch.uint8, device=device)
    at = 0
    for array in arrays:
        for part in chunks(array):
            placed[at : at + len(part)] = torch.from_numpy(np.array(part))
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
