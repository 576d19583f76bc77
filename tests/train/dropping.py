"""A backbone whose layers draw from torch's own generator."""

import torch
from torch import Tensor, nn

from der.model.backbones import Backbone
from der.settings.sections import NetworkSettings
from tests.builders import NORMALIZATION, network_settings


class Dropping(nn.Module):
    """Means of channels, linearly to features, some of which are dropped in training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = 5
        self.linear, self.dropout = nn.Linear(channels, self.features), nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.dropout(self.linear(images.mean((2, 3))))  # type: ignore[no-any-return]


def draw(module: nn.Module, stream: torch.Generator) -> None:
    for values in module.parameters():
        nn.init.uniform_(values, generator=stream)


def dropping(settings: NetworkSettings) -> Backbone:
    return Backbone(lambda channels, shape: Dropping(channels), draw)


SETTINGS = network_settings(
    backbone="tests.train.dropping:dropping", mean=NORMALIZATION.mean, std=NORMALIZATION.std
)
