"""What a step starts from: the network with one more extractor, and classifiers for its new classes."""

import torch
from torch import nn

from der.core.registry import look_up
from der.model.backbones import build_extractor, initialize_extractor
from der.model.extractor import Extractor
from der.model.head_initialization import HEAD_INITIALIZATIONS
from der.model.network import Network, blank_linear
from der.model.pruning import copy_extractor, kept_features
from der.model.start import Start, begin
from der.model.trial import draw_repeatably
from der.settings.sections import NetworkSettings


def random_linear(
    features: int, classes: int, settings: NetworkSettings, generator: torch.Generator
) -> nn.Linear:
    """A new classifier of so many classes, drawn as ``settings`` say; raises UserError for no known way."""
    initialize = look_up(HEAD_INITIALIZATIONS, settings.head_initialization, "network.head_initialization")

    def draw(stream: torch.Generator) -> nn.Linear:
        layer = blank_linear(features, classes, settings.head_bias)
        for values in layer.parameters():
            nn.init.constant_(values, torch.nan)  # which would show
        initialize(layer, stream)
        return layer

    return draw_repeatably(draw, generator, "head_initialization", settings)


def random_extractor(settings: NetworkSettings, channels: int, generator: torch.Generator) -> Extractor:
    """A new extractor for images of so many channels; raises UserError as ``build_extractor`` does."""

    def draw(stream: torch.Generator) -> Extractor:
        extractor = build_extractor(settings, channels)
        initialize_extractor(extractor, settings, stream)
        return extractor

    return draw_repeatably(draw, generator, "backbone", settings)


def expand(
    previous: Network,
    new_classes: int,
    settings: NetworkSettings,
    channels: int,
    generator: torch.Generator,
    start: Start | None = None,
) -> Network:
    """The network of step t before it is trained (DER, section 3.2).

    F_t starts as a copy of F_{t-1} (at step 1: of ``start``, or random); channels that F_{t-1} lost by
    pruning start at random. The classifier keeps its weights for old classes on old features, and its old
    biases, unless ``settings.inherit_head`` is off; the rest is random. Without expansion (the ablation of
    section 4.4, and extractors that are not trained), the one extractor goes on from F_{t-1} and the
    classifier keeps its weights for it. ``previous`` is left as it was; extractors are shared.
    """
    newest = random_extractor(settings, channels, generator)
    if previous.extractors:
        copy_extractor(previous.extractors[-1], newest)
    elif start is not None:
        begin(newest, start)
    kept = previous.extractors if settings.grows else []
    features = sum(extractor.features for extractor in kept) + newest.features
    head = random_linear(features, previous.classes + new_classes, settings, generator)
    if settings.inherit_head and previous.extractors:
        columns = None if settings.grows else kept_features(previous.extractors[-1])
        inherit_head(previous.head, head, columns)
    return Network([*kept, newest], head)


@torch.no_grad()
def inherit_head(previous: nn.Linear, head: nn.Linear, columns: list[int] | None) -> None:
    """Give the first rows of ``head`` the weights and biases of ``previous``.

    Its features are those in ``columns`` of the new ones, or the first ones.
    """
    places = range(previous.in_features) if columns is None else columns
    head.weight[: previous.out_features, torch.tensor(places)] = previous.weight
    if head.bias is not None:
        head.bias[: previous.out_features] = previous.bias
