"""Whether the images of a run are those that a preset means, wherever they came from."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from der.core.errors import UserError
from der.core.files import (read_json)
from der.data.arrays import (list_classes, read_classes)
from der.data.identity import Identity, identify
from der.data.splits import SPLITS
from der.pipeline.params import Change
from der.pipeline.paths import PARAMS, RAW
from der.pipeline.presets import PRESETS

IDENTITIES = PRESETS / "identities.json"
FOLDER = "folder"  # the source of anyone's images


@dataclass(frozen=True)
class ExpectedImages:
    """The images of a public data set, brought to one form."""

    dataset: dict[str, Any]  # the parameters of section dataset that decide which images these are
    sha256: str  # see der.data.identity

    def admits(self, change: Change) -> bool:
        """Whether a parameter says where images come from, not what they are: the identity tells that."""
        section, _, name = change.key.partition(".")
        return section == "dataset" and (name == "source" or name not in self.dataset)


def find_expected(preset: Any) -> ExpectedImages | None:
    """What is known of the images of ``preset``, a preset's values; None where nothing is."""
    for entry in read_json(IDENTITIES):
        if entry["dataset"].items() <= preset["dataset"].items():
            return ExpectedImages(**entry)
    return None


@dataclass(frozen=True)
class RunImages:
    """The images in data/raw, of which no more is read than what is asked for."""

    source: str  # dataset.source

    @cached_property
    def classes(self) -> list[str]:
        """The names of all classes, in alphabetical order."""
        return list_classes(RAW / SPLITS[0])

    @cached_property
    def _identity(self) -> str:
        return identify(RAW).sha256

    def are_those_of(self, preset: Any) -> bool:
        """Whether they are the images that ``preset``, a preset's values, means.

        Where the identity of these is known it decides. Where it is not, images have the preset's source, if
        that is no folder in which anything may lie, or the classes whose order the preset lists.
        """
        dataset, order = preset["dataset"], preset["protocol"]["class_order"]
        if self._form != (dataset["image_side"], dataset["channels"]):
            return False
        expected = find_expected(preset)
        if expected is not None:
            return self._identity == expected.sha256
        if dataset["source"] != FOLDER:
            return bool(self.source == dataset["source"])
        return isinstance(order, list) and sorted(map(str, order)) == self.classes

    @cached_property
    def _form(self) -> tuple[int, int]:
        """Side and channels: most presets' images are told from these by them, without being read."""
        (first,) = read_classes(RAW / SPLITS[0], self.classes[:1])
        _, side, _, channels = first.shape
        return side, channels


def check_images(name: str, found: Identity, expected: ExpectedImages) -> None:
    """Raise UserError unless data/raw holds the images of preset ``name``."""
    if found.sha256 != expected.sha256:
        raise UserError(
            f"{RAW}: not the images of preset {name}, {expected.dataset['source']}'s, but {found.train} "
            f"training and {found.test} test images of {found.classes} classes with SHA-256 "
            f"{found.sha256[:12]}..., not {expected.sha256[:12]}...; bring the data set's own, each class "
            "under its own name, and run `dvc repro`"
        )


def refuse_unknown_images(name: str, source: Change) -> UserError:
    """The error for images from another source than the preset's, with which nothing can be compared."""
    return UserError(
        f"{PARAMS}: dataset.source is {source.old}, but preset {name} has {source.new}, and {IDENTITIES} "
        f"knows no images to compare with; write dataset.source: {source.new} and run `dvc repro`"
    )
