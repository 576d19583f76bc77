"""Extractors of the same architecture with different channels: copying what they share.

Serves physical pruning (DER, section 3.3), and the new extractor that starts from a pruned one. An extractor
that is no ResNet has all its channels, always.
"""

import torch

from der.model.architecture import Shape
from der.model.extractor import Extractor
from der.model.kernels.layers import ConvNorm
from der.model.resnet import BasicBlock, ResNet


def layer_channels(extractor: ResNet) -> list[tuple[ConvNorm, list[int], list[int]]]:
    """Every layer, with the unpruned architecture's channels that its output and its input keep."""
    shape = extractor.shape
    image = list(range(extractor.stem.conv.in_channels))
    layers = [(extractor.stem, shape.streams[0], image)]
    before = shape.streams[0]
    for stage, stream, inner in zip(extractor.stages, shape.streams, shape.inner, strict=True):
        for block, kept in zip(stage.children(), inner, strict=True):
            assert isinstance(block, BasicBlock)
            layers.append((block.first, kept, before))
            layers.append((block.second, stream, kept))
            if isinstance(block.shortcut, ConvNorm):
                layers.append((block.shortcut, stream, before))
            before = stream
    return layers


def pruned_shape(extractor: Extractor) -> Shape | None:
    """The channels that a pruned extractor keeps; None: all."""
    return extractor.shape if isinstance(extractor, ResNet) and extractor.is_pruned else None


def kept_features(extractor: Extractor) -> list[int]:
    """The indices of its features among those of the unpruned architecture."""
    if isinstance(extractor, ResNet):
        return extractor.shape.streams[-1]
    return list(range(extractor.features))


@torch.no_grad()
def copy_extractor(source: Extractor, target: Extractor) -> None:
    """Give ``target``, of the same backbone, the values of ``source``, wherever both have the channel."""
    if isinstance(source, ResNet) and isinstance(target, ResNet):
        copy_channels(source, target)
        return
    found = source.state_dict()
    for name, values in target.state_dict().items():
        values.copy_(found[name])


@torch.no_grad()
def copy_channels(source: ResNet, target: ResNet) -> None:
    """Give ``target`` the values of ``source`` wherever both have the channel; the rest stays.

    They may be on different devices.
    """
    place = target.stem.conv.weight.device
    for (old, old_out, old_in), (new, new_out, new_in) in zip(
        layer_channels(source), layer_channels(target), strict=True
    ):
        old_rows, new_rows = _places(old_out, new_out)
        old_columns, new_columns = _places(old_in, new_in)
        weights = old.conv.weight[old_rows[:, None], old_columns]
        new.conv.weight[new_rows[:, None], new_columns] = weights.to(place)
        for name, values in new.norm.state_dict().items():
            values[new_rows] = old.norm.state_dict()[name][old_rows].to(place)


def _places(first: list[int], second: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the channels that both lists hold lie in each."""
    common = sorted(set(first) & set(second))
    return torch.tensor([first.index(c) for c in common]), torch.tensor([second.index(c) for c in common])
