"""data/input.json, as stage check writes it: the side of images that a backbone asks for, if they follow it.

Apart from params.yaml, so that another backbone of the same side has no image decoded again.
"""

from msgspec.structs import replace

from der.core.errors import DamageError, UserError
from der.core.sealed import read_sealed, write_sealed
from der.pipeline.paths import INPUT
from der.settings.dataset import DatasetSettings


def write_side(side: int | None) -> None:
    """Write the side that the backbone asks for, None where params.yaml has one; the same is left alone."""
    if not holds_side(side):
        write_sealed(INPUT, {"image_side": side})


def holds_side(side: int | None) -> bool:
    """Whether the file has been written for that side, and is whole."""
    try:
        return read_side() == side
    except DamageError:
        return False


def read_side() -> int | None:
    """The side that stage check wrote; raises DamageError if the file is missing or damaged."""
    side: int | None = read_sealed(INPUT)["image_side"]
    return side


def with_side(settings: DatasetSettings) -> DatasetSettings:
    """``settings`` with the backbone's side in place of none; raises UserError if there is no such.

    As DamageError, if the file is damaged.
    """
    if settings.image_side is not None:
        return settings
    side = read_side()
    if side is None:
        raise UserError(f"{INPUT}: holds no side; run `dvc repro`, without --single-item")
    return replace(settings, image_side=side)
