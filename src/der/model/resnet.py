"""Residual feature extractors (He et al. 2016), for small and large images, whole or pruned.

# B batch, C channels, H and W pixels, D features
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.model.architecture import Architecture, Shape
from der.model.kernels.layers import ConvNorm, fork


class PadShortcut(nn.Module):
    """Option A of He et al. 2016: subsample, then fill the new channels with zeros, without parameters.

    ``sources`` holds the input channel that each output channel copies, or -1 for zeros.
    """

    def __init__(self, sources: list[int], channels_in: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, len(sources) - channels_in
        self.simple = sources == [*range(channels_in), *[-1] * self.added]
        places = [channels_in if source < 0 else source for source in sources]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.places: Tensor
        self.gate: Tensor | None = None  # channel mask (C,), while masks are learned

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW[:, :, :: self.stride, :: self.stride]
        if self.simple:
            x_BCHW = F.pad(x_BCHW, (0, 0, 0, 0, 0, self.added))
        else:
            x_BCHW = F.pad(x_BCHW, (0, 0, 0, 0, 0, 1)).index_select(1, self.places)
        return x_BCHW if self.gate is None else x_BCHW * self.gate[:, None, None].to(x_BCHW.dtype)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation, added to a shortcut."""

    def __init__(self, channels_in: int, inner: int, channels: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.first = ConvNorm(channels_in, inner, stride=stride)
        self.second = ConvNorm(inner, channels)
        self.shortcut = shortcut

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW, beside_BCHW = fork(x_BCHW)
        y_BCHW: Tensor = self.second(self.first(x_BCHW), self.shortcut(beside_BCHW))
        return y_BCHW


class ResNet(nn.Module):
    """Residual network of basic blocks without its classifier.

    It maps images (B, C, H, W) float to features (B, D); D is the number of channels of the last stage.
    """

    def __init__(self, channels: int, plan: Architecture, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.is_pruned = shape != plan.full_shape()
        self.features = len(shape.streams[-1])
        width = len(shape.streams[0])
        self.stem = ConvNorm(channels, width, 7, 2) if plan.large_stem else ConvNorm(channels, width)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if plan.large_stem else nn.Identity()
        self.stages = nn.ModuleList()
        before = shape.streams[0]
        for index, (stream, inner) in enumerate(zip(shape.streams, shape.inner, strict=True)):
            stage = nn.Sequential()
            for block_inner in inner:
                first = len(stage) == 0 and index > 0
                stride = 2 if first else 1
                shortcut: nn.Module = nn.Identity()
                if first and plan.learned_shortcuts:
                    shortcut = ConvNorm(len(before), len(stream), 1, stride, relu=False)
                elif first:
                    places = {channel: place for place, channel in enumerate(before)}
                    sources = [places.get(channel, -1) for channel in stream]
                    shortcut = PadShortcut(sources, len(before), stride)
                stage.append(BasicBlock(len(before), len(block_inner), len(stream), stride, shortcut))
                before = stream
            self.stages.append(stage)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.pool(self.stem(x_BCHW))
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
        # Not AdaptiveAvgPool2d: its backward pass is not deterministic on CUDA.
        return x_BCHW.mean((2, 3), dtype=torch.promote_types(x_BCHW.dtype, torch.float32))


def initialize_resnet(extractor: nn.Module, plan: Architecture, generator: torch.Generator) -> None:
    """Draw convolutions from N(0, sqrt(2 / (k^2 c_out))) (He et al. 2015)."""
    for module in extractor.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, BasicBlock) and plan.zero_blocks:
            nn.init.zeros_(module.second.norm.weight)


@torch.no_grad()
def copy_channels(source: ResNet, target: ResNet) -> None:
    """Copy the values of ``source`` to ``target``, on any device, for channels that both have."""
    place = target.stem.conv.weight.device
    pairs = zip(layer_channels(source), layer_channels(target), strict=True)
    for (old, old_out, old_in), (new, new_out, new_in) in pairs:
        old_rows, new_rows = _places(old_out, new_out)
        old_columns, new_columns = _places(old_in, new_in)
        weights = old.conv.weight[old_rows[:, None], old_columns]
        new.conv.weight[new_rows[:, None], new_columns] = weights.to(place)
        for name, values in new.norm.state_dict().items():
            values[new_rows] = old.norm.state_dict()[name][old_rows].to(place)


def layer_channels(extractor: ResNet) -> list[tuple[ConvNorm, list[int], list[int]]]:
    """List every layer with the unpruned architecture's channels that its output and input keep."""
    shape = extractor.shape
    image = list(range(extractor.stem.conv.in_channels))
    layers = [(extractor.stem, shape.streams[0], image)]
    before = shape.streams[0]
    for stage, stream, inner in zip(extractor.stages, shape.streams, shape.inner, strict=True):
        for block, kept in zip(stage.children(), inner, strict=True):
            assert isinstance(block, BasicBlock)
            layers += [(block.first, kept, before), (block.second, stream, kept)]
            if isinstance(block.shortcut, ConvNorm):
                layers.append((block.shortcut, stream, before))
            before = stream
    return layers


def _places(first: list[int], second: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the places in each list of the channels that both lists hold."""
    common = sorted(set(first) & set(second))
    return torch.tensor([first.index(c) for c in common]), torch.tensor([second.index(c) for c in common])
