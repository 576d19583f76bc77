"""What settings may choose by name, and the check that they choose what there is.

Only for those who see everything: a stage that imported this would have every registry in its fingerprint.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from operator import attrgetter
from typing import Any

from der.common.errors import UserError
from der.common.registry import check_imported, look_up, module_of
from der.data.sources.registry import SOURCES
from der.memory.selection import SELECTIONS
from der.model.backbones import BACKBONES, COLOURS, check_masks, choose_backbone
from der.model.head_initialization import HEAD_INITIALIZATIONS
from der.settings.experiment import Settings
from der.train.rebalancing.registry import REBALANCINGS

CHOICES: dict[str, Mapping[str, Any]] = {
    "dataset.source": SOURCES,
    "network.backbone": BACKBONES,
    "network.head_initialization": HEAD_INITIALIZATIONS,
    "train.incremental.rebalancing": REBALANCINGS,
    "memory.selection": SELECTIONS,
}


# How many arguments a function of the user's own is called with.
ARGUMENTS = {
    "dataset.source": 2,
    "network.backbone": 1,
    "network.head_initialization": 2,
    "train.incremental.rebalancing": 3,
    "memory.selection": 4,
}


def check_choices(settings: Settings) -> None:
    """Raise UserError for a name that stands for nothing, or a network that its backbone cannot be."""
    for key, choices in CHOICES.items():
        name = attrgetter(key)(settings)
        found = look_up(choices, name, key)
        if module_of(name) is not None:
            _check_signature(found, name, key)
    choose_backbone(settings.network)
    check_masks(settings.network, settings.train.masks)


def check_channels(settings: Settings) -> None:
    """Raise UserError for weights to start from where images have other channels; not for arrays."""
    channels = settings.dataset.channels
    if settings.network.weights is not None and channels != COLOURS:
        raise UserError(
            f"network.weights: those of {settings.network.backbone} are for images of {COLOURS} channels, "
            f"not of {channels}; write dataset.channels: {COLOURS}, or network.weights: null"
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


def _check_signature(function: Callable[..., Any], name: str, key: str) -> None:
    """Raise UserError if a function cannot be called as one for ``key`` is."""
    try:
        called = signature(function)
    except ValueError:  # written in C, it does not tell
        return
    try:
        called.bind(*range(ARGUMENTS[key]))
    except TypeError:
        raise UserError(
            f"{key}: {name} takes {called}, but gets {ARGUMENTS[key]} arguments; see docs/extending.md"
        ) from None


def check_choices_imported(settings: Settings) -> None:
    """Raise UserError for a function of the user's own that has not been imported; see ``check_imported``."""
    for key in CHOICES:
        check_imported(attrgetter(key)(settings), key)
