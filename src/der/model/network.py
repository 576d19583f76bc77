"""The expandable network: a growing row of extractors and one classifier over all of them.

# B batch, C classes seen, D features per extractor, t extractors
"""

import copy

import torch
from torch import Tensor, nn

from der.common.settings import NetworkSettings
from der.model.resnet import CifarResNet, build_extractor, initialize_extractor


class Network(nn.Module):
    """H_t(Phi_t(x)) of DER, section 3.2: super-feature extractor, then a linear classifier."""

    def __init__(self, extractors: list[CifarResNet], head: nn.Linear) -> None:
        super().__init__()
        self._extractors = nn.ModuleList(extractors)
        self.head = head

    @property
    def extractors(self) -> list[CifarResNet]:
        """F_1 to F_t."""
        return [extractor for extractor in self._extractors if isinstance(extractor, CifarResNet)]

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
    return Network([], blank_linear(0, 0))


def blank_linear(features: int, classes: int) -> nn.Linear:
    """A linear layer whose values are not initialised; both numbers may be zero."""
    layer = nn.Linear(1, 1)  # torch warns of an empty one
    layer.in_features, layer.out_features = features, classes
    layer.weight = nn.Parameter(torch.empty(classes, features))
    layer.bias = nn.Parameter(torch.empty(classes))
    return layer


def random_linear(features: int, classes: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer, weights and bias uniform in +-1/sqrt(features)."""
    layer = blank_linear(features, classes)
    bound = features**-0.5
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def expand(
    previous: Network, new_classes: int, settings: NetworkSettings, channels: int, generator: torch.Generator
) -> Network:
    """The network of step t before it is trained (DER, section 3.2).

    F_t starts as a copy of F_{t-1} (at step 1: random). The classifier keeps its weights for old classes
    on old features, and its old biases; the rest is random. ``previous`` is left as it was; its
    extractors are shared with the result.
    """
    if previous.extractors:
        newest = copy.deepcopy(previous.extractors[-1])
    else:
        newest = build_extractor(settings, channels)
        initialize_extractor(newest, generator)
    features = previous.head.in_features + newest.features
    head = random_linear(features, previous.classes + new_classes, generator)
    with torch.no_grad():
        head.weight[: previous.classes, : previous.head.in_features].copy_(previous.head.weight)
        head.bias[: previous.classes].copy_(previous.head.bias)
    return Network([*previous.extractors, newest], head)


def count_parameters(*modules: nn.Module) -> int:
    """Learnable values in all ``modules`` together."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
