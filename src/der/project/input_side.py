"""data/input.json, as stage check writes it: the side of images that a backbone asks for, if they follow it.

Apart from params.yaml, so that another backbone of the same side has no image decoded again.
"""

from msgspec.structs import replace

from der.common.errors import UserError
from der.common.serialization import read_json, write_json
from der.project.paths import INPUT
from der.settings.dataset import DatasetSettings


def write_side(side: int | None) -> None:
    """Write the side that the backbone asks for, None where params.yaml has one; the same is left alone."""
    if not holds_side(side):
        write_json(INPUT, {"image_side": side})


def holds_side(side: int | None) -> bool:
    """Whether the file has been written for that side."""
    return INPUT.is_file() and read_json(INPUT) == {"image_side": side}


def with_side(settings: DatasetSettings) -> DatasetSettings:
    """``settings`` with the backbone's side in place of none; raises UserError if there is no such."""
    if settings.image_side is not None:
        return settings
    content = read_json(INPUT)
    side = content.get("image_side") if isinstance(content, dict) else None
    if not isinstance(side, int):
        raise UserError(f"{INPUT}: holds no side; run `dvc repro`, without --single-item")
    return replace(settings, image_side=side)
