"""Pixels to network input.

# B batch, C channels, H and W pixels
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from der.settings.ranges import Range, Section


@dataclass(frozen=True)
class Normalization(Section):
    """Per-channel mean and standard deviation of pixels in [0, 1]."""

    mean: Annotated[list[float], Range(0, 1)]
    std: Annotated[list[float], Range(0, 1, above_low=True)]


class Normalize(nn.Module):
    """Bytes (B, C, H, W) uint8 to float32: scaled to [0, 1], mean subtracted, divided by the deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, normalization: Normalization) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(normalization.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(normalization.std)[:, None, None])

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return (images_BCHW.float() / 255 - self.mean) / self.std


def measure_normalization(arrays: Iterable[NDArray[np.uint8]]) -> Normalization:
    """Mean and deviation over all pixels of images (n, H, W, C), one array at a time.

    A channel that never varies gets deviation 1, so that it maps to zero.
    """
    histogram: NDArray[np.int64] | None = None
    for array in arrays:
        counts = np.stack([np.bincount(array[..., c].ravel(), minlength=256) for c in range(array.shape[-1])])
        histogram = counts if histogram is None else histogram + counts
    assert histogram is not None
    # From whole-number counts the sums are exact, whatever the order of images.
    values = np.arange(256) / 255
    total = histogram.sum(1)
    mean = histogram @ values / total
    std = np.sqrt(np.maximum(histogram @ values**2 / total - mean**2, 0))
    std = np.where(std > 1e-6, std, 1.0)
    return Normalization(mean.tolist(), std.tolist())
