"""Pictures whose bytes were changed: decoded to the shape that is wanted, or named in one sentence."""

import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from der.core.errors import UserError, printable
from der.data.sources.pictures import read_picture

# Pillow warns of EXIF data that it leaves out; the picture is read.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning:PIL")]

SIDE = 8
COLOURS = np.random.RandomState(0).randint(0, 256, (9, 11, 3)).astype(np.uint8)
FORMATS = {  # as Pillow names them, with the mode to save in
    "PNG": ("RGB", "RGBA", "P", "LA", "1", "I;16"),
    "JPEG": ("RGB", "L", "CMYK"),
    "GIF": ("P",),
    "TIFF": ("RGB", "F", "I;16"),
    "BMP": ("RGB",),
    "WEBP": ("RGBA",),
    "ICO": ("RGBA",),
    "PPM": ("RGB",),
    "TGA": ("RGBA",),
    "JPEG2000": ("RGB",),
    "DDS": ("RGBA",),
}


def encode(kind: str, mode: str) -> bytes:
    """COLOURS as a file."""
    image = Image.fromarray(COLOURS)
    image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(stream, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}))
    return stream.getvalue()


WHOLE = {(kind, mode): encode(kind, mode) for kind, modes in FORMATS.items() for mode in modes}
WHICH = st.sampled_from(sorted(WHOLE))
HOW = st.sampled_from(["put", "insert", "cut", "truncate", "repeat", "splice"])
CHANGE = st.tuples(HOW, st.integers(0, 2**16), st.binary(min_size=1, max_size=64), WHICH)


def change(content: bytes, how: str, number: int, new: bytes, other: bytes) -> bytes:
    """Bytes put over others, between them, taken out, cut off, said twice, or followed by another's."""
    place = number % max(len(content), 1)
    before, after = content[:place], content[place:]
    return {
        "put": before + new + after[len(new) :],
        "insert": before + new + after,
        "cut": before + after[len(new) :],
        "truncate": before or content,
        "repeat": before + before[-len(new) :] + after,
        "splice": before + other[place:],
    }[how]


@pytest.mark.parametrize("which", sorted(WHOLE))
def test_whole_pictures_are_read(which: tuple[str, str]) -> None:
    assert read_picture(io.BytesIO(WHOLE[which]), "a", SIDE, 3).shape == (SIDE, SIDE, 3)


@given(WHICH, st.lists(CHANGE, min_size=1, max_size=4), st.sampled_from([1, 3]))
def test_changed_bytes(which: tuple[str, str], changes: list[Any], channels: int) -> None:
    content = WHOLE[which]
    for how, number, new, other in changes:
        content = change(content, how, number, new, WHOLE[other])
    try:
        pixels = read_picture(io.BytesIO(content), "here", SIDE, channels)
    except UserError as error:
        sentence = printable(str(error))  # as the programs show it
        assert re.match(
            "here: (cannot be read as a picture; (repair|convert)|too many pixels; make it) ", sentence
        )
    else:
        assert (pixels.shape, pixels.dtype) == ((SIDE, SIDE, channels), np.uint8)
