"""The feature extractors and starts of classifiers that section network of the parameters can name.

To add one, write a function like ``cifar_resnet`` or ``torch_uniform`` and name it in BACKBONES or in
HEAD_INITIALIZATIONS. Torch is imported only to build and to draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from der.core.errors import UserError
from der.core.registry import look_up
from der.model.architecture import Architecture, Normalization, Shape
from der.settings.sections import PRETRAINED, MaskSettings, NetworkSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}  # by depth: of each stage of resnet


@dataclass(frozen=True)
class Backbone:
    """The functions that make the extractors of one network."""

    # Builds an Extractor (der.model.network) for so many channels of the image; the shape is that of a pruned
    # one, or None for all channels. It is called again to read a checkpoint.
    build: Callable[[int, Shape | None], nn.Module]
    # Draws all weights in place, only from the generator, on the CPU.
    initialize: Callable[[nn.Module, torch.Generator], None]
    full_shape: Shape | None = None  # all channels that can be masked and pruned; None: there are no masks
    normalization: Normalization | None = None  # that it expects of its images; None: whatever they have
    side: int | None = None  # pixels of the images that it expects; None: any
    fixed_side: bool = False  # whether it takes no others


class BackboneFunction(Protocol):
    """A backbone: a function of section network of the parameters that says how extractors are made.

    All extractors of a network are made in the same way, a new one at every step, from (B, C, H, W) float32
    images to (B, D) float32 features. Raises UserError for settings that describe no extractor, with the key
    first: "depth: 9 is no depth of this backbone; write 10".
    """

    def __call__(self, settings: NetworkSettings, /) -> Backbone: ...


def cifar_resnet(settings: NetworkSettings) -> Backbone:
    """The residual networks for small images of He et al. 2016, section 4.2."""
    if (settings.depth - 2) % 6:
        raise UserError(f"depth: {settings.depth} is not 6n + 2; write 8, 14, 20, 26, 32, 44, 56 or 110")
    if settings.stem == "large":
        raise UserError("stem: large goes with backbone resnet; write small")
    blocks = [(settings.depth - 2) // 6] * 3
    plan = Architecture([16, 32, 64], blocks, large_stem=False, learned_shortcuts=False, zero_blocks=False)
    return _residual(plan)


def resnet(settings: NetworkSettings) -> Backbone:
    """The residual networks of basic blocks of He et al. 2016, table 1: 18 and 34 layers.

    A block starts as its shortcut (Goyal et al. 2017, section 5.1; the authors' code).
    """
    if settings.depth not in BLOCKS:
        raise UserError(f"depth: {settings.depth} is no depth of backbone resnet; write 18 or 34")
    widths, large = [64, 128, 256, 512], {"large_stem": settings.stem == "large"}
    plan = Architecture(widths, BLOCKS[settings.depth], **large, learned_shortcuts=True, zero_blocks=True)
    return _residual(plan)


def timm(settings: NetworkSettings) -> Backbone:
    """Any model of timm; raises UserError, the key first, for a name or weights that timm does not have."""
    from der.model.weights import build_timm, draw_timm, find_model  # which import torch and timm: seconds

    known = find_model(settings.backbone)
    if settings.weights == PRETRAINED and not known.has_weights:
        mend = "write the path of a file of them, or null"
        raise UserError(f"weights: timm has none of {settings.backbone}; {mend}")
    return Backbone(
        build=lambda channels, shape: build_timm(known, channels, settings.tuned),
        initialize=lambda extractor, generator: draw_timm(extractor, known, generator),
        normalization=known.normalization,
        side=known.side,
        fixed_side=known.fixed_side,
    )


BACKBONES: dict[str, BackboneFunction] = {"cifar_resnet": cifar_resnet, "resnet": resnet, "timm:": timm}


def choose_backbone(settings: NetworkSettings, where: str = "network") -> Backbone:
    """Return the backbone that ``settings`` describe; raises UserError, ``where`` first, if there is none."""
    function = look_up(BACKBONES, settings.backbone, f"{where}.backbone")
    if settings.weights is not None and not settings.backbone.startswith("timm:"):
        raise UserError(f"{where}.weights: backbone {settings.backbone} starts at random; write null")
    if settings.weights is None and settings.tuned != "all":
        fault = f"{settings.tuned} would keep weights that are random"
        raise UserError(f"{where}.tuned: {fault}; name a file in {where}.weights, or write all here")
    if settings.tuned == "none" and not settings.head_bias:
        raise UserError(
            f"{where}.head_bias: false, but what is fitted to a frozen network has biases; write true"
        )
    try:
        backbone = function(settings)
    except UserError as error:
        raise UserError(f"{where}.{error}") from None
    if not isinstance(backbone, Backbone):
        raise UserError(f"{where}.backbone: {settings.backbone} must return a der.model.backbones.Backbone")
    return backbone


def check_masks(settings: NetworkSettings, masks: MaskSettings | None) -> None:
    """Raise UserError if settings ask for ``masks`` and the backbone does not support them."""
    if masks is not None and choose_backbone(settings).full_shape is None:
        raise UserError(
            f"train.masks: backbone {settings.backbone} has no channel masks, only cifar_resnet and "
            "resnet have; write null"
        )


def _residual(plan: Architecture) -> Backbone:
    def build(channels: int, shape: Shape | None) -> nn.Module:
        from der.model.resnet import ResNet

        return ResNet(channels, plan, shape or plan.full_shape())

    def initialize(extractor: nn.Module, generator: torch.Generator) -> None:
        from der.model.resnet import initialize_resnet

        initialize_resnet(extractor, plan, generator)

    return Backbone(build, initialize, plan.full_shape())


class HeadInitialization(Protocol):
    """A start of classifiers: a function that draws all weights and biases of a layer, in place.

    ``layer.weight`` (classes, features) and ``layer.bias`` (classes,) or None are float32, and hold nothing
    yet. Every draw comes only from ``generator``, which is on the CPU.
    """

    def __call__(self, layer: nn.Linear, generator: torch.Generator, /) -> None: ...


def torch_uniform(layer: nn.Linear, generator: torch.Generator) -> None:
    """Draw weights and biases uniform in +-1/sqrt(D), as torch does for new and reset layers."""
    bound = layer.in_features**-0.5
    for values in layer.parameters():
        _fill(values, lambda drawn: drawn.uniform_(-bound, bound, generator=generator))


def lecun_uniform(layer: nn.Linear, generator: torch.Generator) -> None:
    """Draw weights uniform in +-sqrt(3/D), of variance 1/D; biases are zero (PyCIL)."""
    bound = (3 / layer.in_features) ** 0.5
    _fill(layer.weight, lambda drawn: drawn.uniform_(-bound, bound, generator=generator))
    _fill(layer.bias, lambda drawn: drawn.zero_())


def lecun_normal(layer: nn.Linear, generator: torch.Generator) -> None:
    """Draw weights normal, not truncated, of deviation 1/sqrt(D); biases are zero (the authors' code)."""
    deviation = layer.in_features**-0.5
    _fill(layer.weight, lambda drawn: drawn.normal_(0, deviation, generator=generator))
    _fill(layer.bias, lambda drawn: drawn.zero_())


def _fill(values: Tensor | None, draw: Callable[[Tensor], Tensor]) -> None:
    """Draw values on the CPU, where the generator is; the layer may lie elsewhere when warm-up ends."""
    if values is not None:
        values.detach().copy_(draw(values.new_empty(values.shape, device="cpu")))


HEAD_INITIALIZATIONS: dict[str, HeadInitialization] = {
    one.__name__: one for one in (torch_uniform, lecun_uniform, lecun_normal)
}
