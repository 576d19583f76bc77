"""The expandable network: a growing row of extractors and one classifier over all of them.

# B batch, C classes seen, D features per extractor, t extractors
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from der.core.randomness import Diverted
from der.model.architecture import Shape
from der.model.backbones import build_extractor
from der.model.extractor import Extractor
from der.model.kernels.folding import place_folded
from der.model.pruning import copy_channels
from der.model.resnet import ResNet
from der.settings.sections import NetworkSettings


class Network(nn.Module):
    """H_t(Phi_t(x)) of DER, section 3.2: super-feature extractor, then a linear classifier."""

    def __init__(self, extractors: Sequence[Extractor], head: nn.Linear) -> None:
        super().__init__()
        self._extractors = nn.ModuleList(extractors)
        self.head = head

    @property
    def extractors(self) -> list[Extractor]:
        """F_1 to F_t."""
        return [cast(Extractor, extractor) for extractor in self._extractors]

    @property
    def classes(self) -> int:
        """Number of classes seen."""
        return self.head.out_features

    def features(self, images_BCHW: Tensor) -> Tensor:
        """The super-feature u (B, t*D): the extractors' features side by side."""
        return torch.cat([extractor(images_BCHW) for extractor in self.extractors], dim=1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, C) of normalised images (B, channels, H, W)."""
        return self.head(self.features(images_BCHW))  # type: ignore[no-any-return]


def empty_network() -> Network:
    """The network before step 1: no extractor, no class."""
    return Network([], blank_linear(0, 0, bias=True))


def blank_linear(features: int, classes: int, bias: bool) -> nn.Linear:
    """A linear layer whose values are not initialised; both numbers may be zero."""
    with Diverted():
        layer = nn.Linear(1, 1)  # torch warns of an empty one
    layer.in_features, layer.out_features = features, classes
    layer.weight = nn.Parameter(torch.empty(classes, features))
    layer.register_parameter("bias", nn.Parameter(torch.empty(classes)) if bias else None)
    return layer


@torch.no_grad()
def prune_newest(network: Network, shape: Shape, settings: NetworkSettings) -> Network:
    """The network whose newest extractor, a whole ResNet, has the channels of ``shape`` alone.

    The classifier loses its weights for the features that go (DER, section 3.3); the rest is copied.
    """
    *kept, newest = network.extractors
    assert isinstance(newest, ResNet)
    pruned = build_extractor(settings, newest.stem.conv.in_channels, shape)
    assert isinstance(pruned, ResNet)
    copy_channels(newest, pruned)
    old_features = network.head.in_features - newest.features
    columns = [*range(old_features), *(old_features + channel for channel in shape.streams[-1])]
    head = blank_linear(len(columns), network.classes, settings.head_bias)
    head.weight.copy_(network.head.weight[:, columns])
    if settings.head_bias:
        head.bias.copy_(network.head.bias)
    return Network([*kept, pruned], head)


def fold_network(network: Network, device: torch.device, dtype: torch.dtype = torch.float32) -> Network:
    """``network`` with all extractors as of ``place_folded``, on ``device``; its classifier goes along."""
    return Network([place_folded(one, device, dtype) for one in network.extractors], network.head.to(device))


def count_parameters(*modules: nn.Module) -> int:
    """Learnable values in all ``modules`` together."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def count_trained(module: nn.Module) -> int:
    """Values of ``module`` that training changes."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
