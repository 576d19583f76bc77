"""Residual feature extractors for small images.

# B batch, C channels, H and W pixels, D features
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.common.settings import NetworkSettings
from der.model.layers import ConvNorm


class PadShortcut(nn.Module):
    """Option A of He et al. 2016: subsample, then fill the new channels with zeros; no parameters."""

    def __init__(self, added_channels: int, stride: int) -> None:
        super().__init__()
        self.added_channels = added_channels
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW[:, :, :: self.stride, :: self.stride]
        return F.pad(x_BCHW, (0, 0, 0, 0, 0, self.added_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation, added to a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels_in, channels, stride=stride)
        self.second = ConvNorm(channels, channels)
        changes = stride != 1 or channels_in != channels
        self.shortcut = PadShortcut(channels - channels_in, stride) if changes else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW: Tensor = self.second(self.first(x_BCHW), self.shortcut(x_BCHW))
        return y_BCHW


class CifarResNet(nn.Module):
    """ResNet of depth 6n + 2 (He et al. 2016, section 4.2) without its classifier.

    Images (B, C, H, W) float to features (B, D) with D = 64.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.features = 64
        self.stem = ConvNorm(channels, 16)
        blocks: list[nn.Module] = []
        width_in = 16
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            for index in range((depth - 2) // 6):
                blocks.append(BasicBlock(width_in, width, stride if index == 0 else 1))
                width_in = width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.blocks(self.stem(x_BCHW))
        # Not AdaptiveAvgPool2d: its backward pass is not deterministic on CUDA.
        return x_BCHW.mean((2, 3), dtype=torch.promote_types(x_BCHW.dtype, torch.float32))


def build_extractor(settings: NetworkSettings, channels: int) -> CifarResNet:
    """An extractor of the configured architecture, its convolutions not yet initialised."""
    return CifarResNet(channels, settings.depth)


def initialize_extractor(extractor: nn.Module, generator: torch.Generator) -> None:
    """Draw convolutions from N(0, sqrt(2 / (k^2 c_out))) (He et al. 2015); the rest stays as built."""
    for module in extractor.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
