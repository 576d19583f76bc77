"""Pixels to network input.

# B batch, C channels, H and W pixels
"""

import torch
from torch import Tensor, nn

from der.model.pixel_statistics import Normalization


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
