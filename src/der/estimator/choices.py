"""Changes settings by keyword, and checks all names in them against the registries.

Stages must not import this module: it would put every registry into their fingerprint.
"""

from collections.abc import Mapping
from inspect import signature
from operator import attrgetter
from statistics import median_low
from typing import Any, NamedTuple

import msgspec

from der.core.errors import UserError
from der.core.registry import look_up, module_of
from der.data.sources.registry import SOURCES
from der.memory import SELECTIONS
from der.model import backbones
from der.model.architecture import COLOURS
from der.settings import parsing, sections
from der.settings.experiment import DEFAULT, DIRECTORY, Settings, list_names, preset

SEPARATOR = "__"  # train__seed is train.seed, as scikit-learn names nested parameters
INERT = ("dataset", "protocol")  # sections that say nothing about arrays, but for the
SIDE = "dataset__image_side"
LARGEST_SMALL = 64  # pixels; a network that starts at random learns larger images slowly
MANY = 5000  # images of a first step, from which on 201 epochs pay


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


def presets() -> dict[str, str]:
    """Map names of presets, which ``preset`` and ``DERClassifier`` take, to a sentence on each."""
    texts = {name: (DIRECTORY / f"{name}.yaml").read_text(encoding="utf-8") for name in list_names()}
    return {name: text.partition("\n")[0].removeprefix("# ") for name, text in texts.items()}


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
                misfit = f"{key}: {name} takes {called}, but gets {choice.arguments} arguments"
                raise UserError(f"{misfit}; see docs/extending.md") from None
    backbones.choose_backbone(settings.network)
    backbones.check_masks(settings.network, settings.train.masks)


def check_channels(network: sections.NetworkSettings, channels: int, advice: str) -> None:
    """Raise UserError if start weights, then with ``advice``, or mean and std do not fit the images."""
    if network.weights is not None and channels != COLOURS:
        fit = f"network.weights: those of {network.backbone} are for images of {COLOURS} channels"
        raise UserError(f"{fit}, not of {channels}; {advice}")
    for name, values in (("mean", network.mean), ("std", network.std)):
        if values is not None and len(values) != channels:
            found = f"{len(values)} values for images of {channels} channels"
            raise UserError(f"network.{name}: {found}; write {channels}")


def backbone_side(settings: Settings) -> int | None:
    """Return the image side of the backbone, or None if settings name a side; raises UserError if unknown."""
    backbone, side = backbones.choose_backbone(settings.network), settings.dataset.image_side
    if side is None and backbone.side is None:
        fault = f"dataset.image_side: null, but {settings.network.backbone} has no side of its own"
        raise UserError(f"{fault}; write the pixels")
    if backbone.fixed_side and side not in (None, backbone.side):
        takes = f"{settings.network.backbone} takes images of {backbone.side} pixels alone"
        raise UserError(f"dataset.image_side: {takes}; write null")
    return backbone.side if side is None else None


def suit(sizes: set[tuple[int, int]], channels: int, images: int) -> Settings:
    """Choose settings for a first step on so many images of these sizes (H, W).

    They are those of preset photos if the median of the shorter sides is above 64 pixels; else those of
    digits, and from 5,000 images on of notebook, but in float32, with 20 exemplars of each class, and with
    augmentation and mean that suit the images.
    """
    side = median_low(map(min, sizes)) if sizes else 0
    if side > LARGEST_SMALL:
        return preset("photos")
    changes = {
        "network__mean": None,
        "network__std": None,
        "train__precision": "float32",
        "train__augmentation__crop_padding": side // 8,
        "train__augmentation__horizontal_flip": channels == COLOURS,  # grey ones may be letters
        "memory__budget": 20,
        "memory__allocation": "per_class",
    }
    settings = change_settings(preset("notebook" if images >= MANY else "digits"), changes)
    return with_form(settings, max(side, sections.SMALLEST_SIDE), channels)


def with_form(settings: Settings, side: int, channels: int) -> Settings:
    """Return ``settings`` with the form of the network's images."""
    dataset = msgspec.structs.replace(settings.dataset, image_side=side, channels=channels)
    return msgspec.structs.replace(settings, dataset=dataset)


def choose_form(settings: Settings, sizes: set[tuple[int, int]], channels: int) -> tuple[int, int]:
    """Return side and channels of the network's images, from the sizes (H, W) of those of the first step.

    Squares of one size keep their side. All others get dataset.image_side; null is the backbone's.
    """
    if settings.network.weights is not None:
        channels = COLOURS
    (height, width), *others = sizes or [(0, 0)]
    if not others and height == width and sections.SMALLEST_SIDE <= height <= sections.LARGEST_SIDE:
        return height, channels
    return backbone_side(settings) or settings.dataset.side, channels


def resolve(settings: Settings | str | None, changes: dict[str, Any], seed: int | None = None) -> Settings:
    """Return settings, a preset's or for None the default's, with changes; raises UserError for misfits."""
    found = DEFAULT if settings is None else settings
    found = preset(found) if isinstance(found, str) else found
    drawn = {} if seed is None else {"train__seed": seed}
    changed = change_settings(found, changes | drawn)
    check_choices(changed)
    return changed


def change_settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    """Return ``settings`` with other values; raises UserError for a wrong key or value, or one of INERT."""
    if not isinstance(settings, Settings):
        fault = f"settings: a {type(settings).__name__} does not fit"
        raise UserError(f"{fault}; give a preset's name, der.preset(...) or der.read_settings(...)")
    if not changes:
        return settings
    values = sections.all_values(settings)
    for key, value in changes.items():
        section, where = values, key.replace(SEPARATOR, ".")
        if where.partition(".")[0] in INERT and key != SIDE:
            raise UserError(f"{where}: arrays decide on it; leave it out")
        *above, last = key.split(SEPARATOR)
        for name in above:
            inner = section.get(name)
            if not isinstance(inner, dict):  # masks may be None: its value is given as a whole
                raise UserError(f"{where}: there is no section {name!r} to change")
            section = inner
        # What YAML has for arrays and numbers of NumPy; anything else is refused as text.
        section[last] = msgspec.to_builtins(value, enc_hook=lambda one: getattr(one, "tolist", one.__str__)())
    return parsing.parse(Settings, values)


def list_values(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """List all values of settings, sections too, by the keys that ``change_settings`` takes."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in INERT:
            continue
        found[prefix + name] = value
        if isinstance(value, dict):
            found |= list_values(value, prefix + name + SEPARATOR)
    return found
