"""What another program must make of a picture to give a network the pixels that this one would."""

from typing import Any

from der.data.sources.pictures import BACKGROUND, DRAFT
from der.model.metadata import Metadata


def describe_input(metadata: Metadata) -> dict[str, Any]:
    """The form of a network's input, in the order in which a picture is brought to it; JSON.

    ``docs/exports.md`` says what each entry means. Mean and deviation are for programs that normalise
    themselves: the forms with a graph do it inside.
    """
    scaling, crop, kernel = metadata.resize.split(", ")
    return {
        "jpeg_draft": DRAFT,
        "exif_orientation": True,
        "background": BACKGROUND,
        "mode": "L" if metadata.channels == 1 else "RGB",
        "channels": metadata.channels,
        "side": metadata.image_side,
        "resize": scaling,
        "crop": crop.removesuffix("-crop"),
        "filter": kernel.upper(),
        "mean": metadata.normalization.mean,
        "std": metadata.normalization.std,
    }
