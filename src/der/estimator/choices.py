"""Changes settings by keyword, and checks all names in them against the registries.

Stages must not import this module: it would put every registry into their fingerprint.
"""

from collections.abc import Mapping
from inspect import signature
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np

from der.core.errors import UserError
from der.core.registry import check_imported, look_up, module_of
from der.data.sources.registry import SOURCES
from der.memory import SELECTIONS
from der.model import backbones
from der.model.architecture import COLOURS
from der.settings import parsing, sections
from der.settings.experiment import Settings

SEPARATOR = "__"  # train__seed is train.seed, as scikit-learn names nested parameters


class Choice(NamedTuple):
    """The registry of a setting whose value is a name."""

    registry: Mapping[str, Any]
    arguments: int  # that a user-defined function is called with


CHOICES = {
    "dataset.source": Choice(SOURCES, 2),
    "network.backbone": Choice(backbones.BACKBONES, 1),
    "network.head_initialization": Choice(backbones.HEAD_INITIALIZATIONS, 2),
    "train.incremental.rebalancing": Choice(sections.REBALANCINGS, 3),
    "memory.selection": Choice(SELECTIONS, 4),
}


def check_choices(settings: Settings) -> None:
    """Raise UserError for an unknown name, or for settings that the backbone refuses."""
    for key, choice in CHOICES.items():
        name = attrgetter(key)(settings)
        found = look_up(choice.registry, name, key)
        if module_of(name) is not None:
            called = signature(found)
            try:
                called.bind(*range(choice.arguments))
            except TypeError:
                raise UserError(
                    f"{key}: {name} takes {called}, but gets {choice.arguments} arguments; "
                    "see docs/extending.md"
                ) from None
    backbones.choose_backbone(settings.network)
    backbones.check_masks(settings.network, settings.train.masks)


def check_choices_imported(settings: Settings) -> None:
    """Raise UserError for a user-defined function that was not imported; see ``check_imported``."""
    for key in CHOICES:
        check_imported(attrgetter(key)(settings), key)


def check_channels(network: sections.NetworkSettings, channels: int, advice: str) -> None:
    """Raise UserError, ``advice`` last, if start weights do not fit the ``channels`` of the images."""
    if network.weights is not None and channels != COLOURS:
        raise UserError(
            f"network.weights: those of {network.backbone} are for images of {COLOURS} channels, "
            f"not of {channels}; {advice}"
        )


def backbone_side(settings: Settings) -> int | None:
    """Return the image side of the backbone, or None if settings name a side; raises UserError if unknown."""
    backbone, side = backbones.choose_backbone(settings.network), settings.dataset.image_side
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


def change_settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    """Return ``settings`` with other values; raises UserError for a wrong key or value."""
    if not isinstance(settings, Settings):
        raise UserError(
            f"settings: a {type(settings).__name__} does not fit; give der.preset(...) or "
            "der.read_settings(...)"
        )
    if not changes:
        return settings
    values = sections.all_values(settings)
    for key, value in changes.items():
        section, where = values, key.replace(SEPARATOR, ".")

        def convert(inner: Any, where: str = where) -> Any:
            """What YAML has for arrays and numbers of NumPy."""
            if isinstance(inner, np.generic | np.ndarray):
                return inner.tolist()
            kind = type(inner).__name__
            raise UserError(
                f"{where}: a {kind} does not fit; give a number, text, a list, True, False or None"
            )

        *above, last = key.split(SEPARATOR)
        for name in above:
            inner = section.get(name)
            if not isinstance(inner, dict):  # masks may be None: its value is given as a whole
                raise UserError(f"{where}: there is no section {name!r} to change")
            section = inner
        section[last] = msgspec.to_builtins(value, enc_hook=convert)
    return parsing.parse(Settings, values)


def list_values(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """List all values of settings, sections too, by the keys that ``change_settings`` takes."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found[prefix + name] = value
        if isinstance(value, dict):
            found |= list_values(value, prefix + name + SEPARATOR)
    return found
