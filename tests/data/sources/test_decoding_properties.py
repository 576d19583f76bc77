"""Pictures whose bytes were changed: decoded to the shape that is wanted, or named in one sentence."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from der.core.errors import UserError
from der.core.text import printable
from der.data.sources.pictures import read_picture

# Pillow warns of EXIF data that it leaves out; the picture is read.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

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
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["put", "insert", "cut", "truncate", "repeat"]),
        st.integers(0, 2**16),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def change(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """Bytes put over others, between them, taken out, cut off at the end, or said twice."""
    for how, number, new in changes:
        place = number % max(len(content), 1)
        before, after = content[:place], content[place:]
        content = {
            "put": before + new + after[len(new) :],
            "insert": before + new + after,
            "cut": before + after[len(new) :],
            "truncate": before or content,
            "repeat": before + before[-len(new) :] + after,
        }[how]
    return content


def read_changed(content: bytes, channels: int) -> None:
    with TemporaryDirectory() as directory:
        file = Path(directory, "a picture")
        file.write_bytes(content)
        pixels, sentence = None, ""
        try:
            pixels = read_picture(file, "here", SIDE, channels)
        except UserError as error:
            sentence = printable(str(error))  # as the programs show it
    if pixels is None:
        assert sentence.startswith(
            ("here: cannot be read as a picture; repair ", "here: too many pixels; make it ")
        )
    else:
        assert (pixels.shape, pixels.dtype) == ((SIDE, SIDE, channels), np.uint8)


@pytest.mark.parametrize("kind", FORMATS)
def test_whole_pictures_are_read(kind: str) -> None:
    for mode in FORMATS[kind]:
        with TemporaryDirectory() as directory:
            Path(directory, "a").write_bytes(WHOLE[kind, mode])
            assert read_picture(Path(directory, "a"), "a", SIDE, 3).shape == (SIDE, SIDE, 3)


@given(which=st.sampled_from(sorted(WHOLE)), changes=CHANGES, channels=st.sampled_from([1, 3]))
def test_changed_bytes(which: tuple[str, str], changes: list[tuple[str, int, bytes]], channels: int) -> None:
    read_changed(change(WHOLE[which], changes), channels)


@given(
    one=st.sampled_from(sorted(WHOLE)),
    two=st.sampled_from(sorted(WHOLE)),
    place=st.integers(0, 200),
    channels=st.sampled_from([1, 3]),
)
def test_the_head_of_one_picture_and_the_tail_of_another(
    one: tuple[str, str], two: tuple[str, str], place: int, channels: int
) -> None:
    read_changed(WHOLE[one][:place] + WHOLE[two][place:], channels)


@given(content=st.binary(max_size=64), which=st.sampled_from(sorted(WHOLE)), head=st.integers(0, 16))
def test_any_bytes_behind_a_signature(content: bytes, which: tuple[str, str], head: int) -> None:
    read_changed(WHOLE[which][:head] + content, 3)
