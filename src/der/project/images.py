"""Whether the images of a run are those that a preset means, wherever they came from."""

from dataclasses import dataclass
from typing import Any

from der.common.errors import UserError
from der.common.serialization import read_json
from der.data.identity import Identity
from der.project.changes import Change
from der.project.paths import PARAMS, RAW
from der.project.presets import PRESETS

IDENTITIES = PRESETS / "identities.json"


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
