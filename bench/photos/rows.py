"""The rows of the table: networks, numbers of training images, seeds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SEEDS = (0, 1)
IMAGES = (30, 100)  # training images of a class
PRETRAINED = "timm:tf_efficientnet_lite0"

# From nothing, a network needs more passes, and a larger rate, than one that is tuned.
ANEW = {"epochs": 40, "learning_rate": 0.1, "milestones": [24, 33], "weight_decay": 5e-4, "warmup_epochs": 3}


@dataclass(frozen=True)
class Contender:
    """A network and what it is trained with, where that differs from preset photos."""

    name: str
    side: int  # pixels; CIFAR-100's 32 are enlarged
    network: dict[str, Any]
    schedule: dict[str, Any] = field(default_factory=dict)
    later: dict[str, Any] = field(default_factory=dict)  # of steps after the first


def _anew(name: str, side: int, backbone: str, depth: int, stem: str) -> Contender:
    network = {"backbone": backbone, "depth": depth, "stem": stem, "weights": None, "tuned": "all"}
    return Contender(name, side, network, ANEW)


def _tuned(tuned: str, side: int, **schedule: Any) -> Contender:
    return Contender(f"pretrained, tuned {tuned}, {side}", side, {"tuned": tuned}, schedule)


CONTENDERS = (
    _tuned("none", 112),
    _tuned("last", 112),
    _tuned("all", 112),
    _anew("ResNet-32", 32, "cifar_resnet", 32, "small"),
    _anew("ResNet-18", 64, "resnet", 18, "large"),
)
# What larger pictures bring, on the first seed alone.
LARGER = (_tuned("none", 224), _tuned("last", 224))
# What the preset would be with the other rebalancing.
ALIGNED = Contender(
    "pretrained, tuned last, 112, weight alignment",
    112,
    {"tuned": "last"},
    later={"rebalancing": "weight_alignment"},
)


class Row(NamedTuple):
    """One run."""

    contender: Contender
    images: int  # training images of a class
    seed: int

    @property
    def key(self) -> dict[str, Any]:
        """What a finished row is known by."""
        return {"network": self.contender.name, "images_per_class": self.images, "seed": self.seed}


def list_rows() -> Iterator[Row]:
    """All rows, a seed after the other, so that what is finished is a table; variants last."""
    for seed in SEEDS:
        for images in IMAGES:
            yield from (Row(contender, images, seed) for contender in CONTENDERS)
    yield from (Row(contender, IMAGES[0], SEEDS[0]) for contender in LARGER)
    yield from (Row(ALIGNED, IMAGES[0], seed) for seed in SEEDS)
