"""What settings may choose by name, and the check that they choose what there is.

Only for those who see everything: a stage that imported this would have every registry in its fingerprint.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from operator import attrgetter
from typing import Any, NamedTuple

from der.core.errors import UserError
from der.core.registry import check_imported, look_up, module_of
from der.data.sources.registry import SOURCES
from der.memory.selection import SELECTIONS
from der.model.backbones import BACKBONES, COLOURS, HEAD_INITIALIZATIONS, check_masks, choose_backbone
from der.settings.experiment import Settings
from der.settings.network import NetworkSettings
from der.train.rebalancing.registry import REBALANCINGS


class Choice(NamedTuple):
    """What a setting's name is looked up in."""

    registry: Mapping[str, Any]
    arguments: int  # that a function of the user's own is called with


CHOICES = {
    "dataset.source": Choice(SOURCES, 2),
    "network.backbone": Choice(BACKBONES, 1),
    "network.head_initialization": Choice(HEAD_INITIALIZATIONS, 2),
    "train.incremental.rebalancing": Choice(REBALANCINGS, 3),
    "memory.selection": Choice(SELECTIONS, 4),
}


def check_choices(settings: Settings) -> None:
    """Raise UserError for a name that stands for nothing, or a network that its backbone cannot be."""
    for key, choice in CHOICES.items():
        name = attrgetter(key)(settings)
        found = look_up(choice.registry, name, key)
        if module_of(name) is not None:
            _check_signature(found, name, key, choice.arguments)
    choose_backbone(settings.network)
    check_masks(settings.network, settings.train.masks)


def check_channels(network: NetworkSettings, channels: int, advice: str) -> None:
    """Raise UserError, ``advice`` last, for weights to start from where images have other ``channels``."""
    if network.weights is not None and channels != COLOURS:
        raise UserError(
            f"network.weights: those of {network.backbone} are for images of {COLOURS} channels, "
            f"not of {channels}; {advice}"
        )


def backbone_side(settings: Settings) -> int | None:
    """The side that images follow the backbone to; None if ``settings`` have one of their own.

    Not for arrays, which have theirs. Raises UserError if there is neither, or one that the backbone does not
    take.
    """
    backbone, side = choose_backbone(settings.network), settings.dataset.image_side
    if side is None and backbone.side is None:
        raise UserError(
            f"dataset.image_side: backbone {settings.network.backbone} takes images of any; write the pixels"
        )
    if backbone.fixed_side and side not in (None, backbone.side):
        raise UserError(
            f"dataset.image_side: {settings.network.backbone} takes images of {backbone.side} pixels alone; "
            "write null"
        )
    return backbone.side if side is None else None


def _check_signature(function: Callable[..., Any], name: str, key: str, arguments: int) -> None:
    """Raise UserError if a function cannot be called as one for ``key`` is."""
    try:
        called = signature(function)
    except ValueError:  # written in C, it does not tell
        return
    try:
        called.bind(*range(arguments))
    except TypeError:
        raise UserError(
            f"{key}: {name} takes {called}, but gets {arguments} arguments; see docs/extending.md"
        ) from None


def check_choices_imported(settings: Settings) -> None:
    """Raise UserError for a function of the user's own that has not been imported; see ``check_imported``."""
    for key in CHOICES:
        check_imported(attrgetter(key)(settings), key)
