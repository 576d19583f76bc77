"""Pictures of any format, mode and size to uint8 arrays of one side and one number of channels."""

import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from der.common.errors import UserError
from der.data.sources.class_images import Images

CAMERAS = (".heic", ".heif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf")  # what cameras write
PROGRAMS = ("EPS",)  # no pixels but a program, for which Pillow starts another one, Ghostscript
LARGEST_PICTURE = 89_000_000  # pixels; a few kilobytes of file can claim more and exhaust the memory
DRAFT = 2  # times the side wanted, to which large JPEGs are decoded at least, at a fraction of their size
BACKGROUND = "white"  # behind what is transparent

# Pillow's decoders raise all of these on damaged files.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, EOFError),
    *(RuntimeError, AssertionError, struct.error, zlib.error),
)
BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_picture(file: Path | IO[bytes], where: str, side: int, channels: int) -> Images:
    """Decode the first frame of a file, or of a stream of one's bytes, and bring it ``to_pixels``.

    It is turned as its EXIF orientation says. ``where`` names the file in messages. Raises UserError if it is
    no picture, is damaged or a program in PostScript, or has more than 89 million pixels.
    """
    try:
        with Image.open(file) as image:
            if image.format in PROGRAMS:
                raise ValueError(f"{image.format} is a program that draws; save what it draws as PNG")
            if image.width * image.height > LARGEST_PICTURE:
                raise Image.DecompressionBombError(f"{image.width}x{image.height}")
            image.draft(image.mode, (DRAFT * side, DRAFT * side))
            ImageOps.exif_transpose(image, in_place=True)
            return to_pixels(image, side, channels)
    except BOMB as error:
        raise UserError(f"{where}: too many pixels; make it smaller ({error})") from None
    except UnidentifiedImageError:
        if where.lower().endswith(CAMERAS):
            raise UserError(f"{where}: is of a form that Pillow does not read; convert it to JPEG") from None
        raise UserError(f"{where}: cannot be read as a picture; repair or remove it") from None
    except DAMAGE as error:
        raise UserError(f"{where}: cannot be read as a picture; repair or remove it ({error})") from None


def to_pixels(image: Image.Image, side: int, channels: int) -> Images:
    """Bring a picture of any mode to uint8 (side, side, channels), grey for 1 channel, RGB for 3.

    Transparency is composited over white. A picture of another size is scaled, smoothly, until it covers
    the square, and centre-cropped; one of the right size keeps its pixels. Raises ValueError for numbers
    that are no brightness (see ``_eight_bits``).
    """
    if image.mode.startswith(("I", "F")):
        # A PNG's one transparent grey; 8 bits would not tell it from its neighbours.
        opaque = np.asarray(image) != image.info.get("transparency")
        image = Image.fromarray(np.stack([_eight_bits(image), opaque * np.uint8(255)], axis=2))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (side, side):
        image = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(side, side, channels)


def resize_all(images: Images, side: int, channels: int) -> Images:
    """Bring uint8 (n, H, W) grey or (n, H, W, 3) colour images ``to_pixels``, (n, side, side, channels)."""
    return np.stack([to_pixels(Image.fromarray(image), side, channels) for image in images])


def _eight_bits(image: Image.Image) -> Images:
    """Scale a grey picture of 16-bit integers, 32-bit integers or floats to uint8 (H, W).

    16-bit pictures range to 65535. The other two do not say how far they range: taken is the smallest of
    1 (floats only), 255 and 65535 that no pixel exceeds.
    """
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;"):
        white = 65535
    else:
        whites = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        white = next((white for white in whites if values.max() <= white), 0)
    if not white or not values.min() >= 0:
        raise ValueError("grey values outside 0 to 65535")
    return np.rint(values * (255 / white)).astype(np.uint8)
