"""Pictures of any format, mode and size to uint8 arrays of one side and one number of channels."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from der.core.errors import UserError
from der.data.sources.class_images import Images
from der.data.sources.room import ROOM

UNREAD = (  # suffixes of what cameras and drawing programs write, and Pillow does not read
    *(".heic", ".heif", ".hif", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".raf", ".orf", ".rw2"),
    *(".pef", ".srw", ".x3f", ".raw", ".3fr", ".crw", ".dcr", ".erf", ".fff", ".gpr", ".iiq", ".kdc"),
    *(".mef", ".mos", ".mrw", ".rwl", ".sr2", ".srf", ".jxl", ".svg"),
)
EXIF = "exif", "Raw profile type exif"  # where Pillow keeps its bytes
PROGRAMS = ("EPS",)  # no pixels but a program, for which Pillow starts another one, Ghostscript
LARGEST_PICTURE = 89_000_000  # pixels; a few kilobytes of file can claim more and exhaust the memory
LARGEST_JPEG = 250_000_000  # pixels before it is decoded smaller; a phone's best has 200 million
JPEG = b"\xff\xd8\xff"  # its first bytes
HEIF = b"heic", b"heix", b"hevc", b"mif1", b"msf1"  # brands, after a length and "ftyp"
HEAD = 12  # bytes that tell these
STRIP = 2**20  # pixels of a picture that are converted at once
DRAFT = 2  # times the side wanted, to which large JPEGs are decoded at least, at a fraction of their size
BACKGROUND = "white"  # behind what is transparent

# Pillow's decoders raise all of these on damaged files.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, EOFError),
    *(RuntimeError, AssertionError, struct.error, zlib.error),
)
BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class UnreadForm(UserError):
    """A picture that may be whole, but has to be converted."""


def read_picture(file: Path | IO[bytes], where: str, side: int, channels: int) -> Images:
    """Decode the first frame of a file, or of a stream of one's bytes, and bring it ``to_pixels``.

    It is turned as its EXIF orientation says. ``where`` names the file in messages. Raises UserError if it is
    no picture, is damaged or a program in PostScript, or has more than 89 million pixels, a JPEG 250 million.
    """
    try:
        with _open(file) as image:
            if image.format == "TIFF" and where.lower().endswith(UNREAD):
                raise UnidentifiedImageError  # of a camera's raw file Pillow sees the thumbnail alone
            if image.format in PROGRAMS:
                raise ValueError(f"{image.format} is a program that draws; save what it draws as PNG")
            with ROOM.taking(_draft(image, side)):
                _turn(image)
                return to_pixels(image, side, channels)
    except BOMB as error:
        raise UserError(f"{where}: too many pixels; make it smaller ({error})") from None
    except UnidentifiedImageError:
        if where.lower().endswith(UNREAD) or _is_heif(_head(file)):
            raise UnreadForm(f"{where}: is of a form that Pillow does not read; convert it to JPEG") from None
        raise UserError(f"{where}: cannot be read as a picture; repair or remove it") from None
    except DAMAGE as error:
        raise UserError(f"{where}: cannot be read as a picture; repair or remove it ({error})") from None


def _open(file: Path | IO[bytes]) -> Image.Image:
    """As Pillow does, which yet refuses or warns of large JPEGs, not knowing how small they are decoded."""
    return JpegImageFile(file) if _head(file).startswith(JPEG) else Image.open(file)


def _head(file: Path | IO[bytes]) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return stream.read(HEAD)
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    return head


def _is_heif(head: bytes) -> bool:
    """Whether a file is what phones write, by its first bytes: on the way many are renamed to .jpg."""
    return head[4:8] == b"ftyp" and head[8:] in HEIF


def _draft(image: Image.Image, side: int) -> int:
    """Have a large JPEG decoded small; returns how many pixels are in memory then.

    Raises DecompressionBombError for too many.
    """
    width, height = image.size
    image.draft(image.mode, (DRAFT * side, DRAFT * side))
    pixels = image.width * image.height
    if pixels > LARGEST_PICTURE or width * height > LARGEST_JPEG:
        raise Image.DecompressionBombError(f"{width}x{height}")
    return width * height if "progressive" in image.info else pixels


def _turn(image: Image.Image) -> None:
    """Turn a picture as its EXIF orientation says; as it is where EXIF data cannot be read."""
    image.load()
    try:
        image.getexif()
    except DAMAGE:
        return
    for key in EXIF:
        image.info.pop(key, None)  # else Pillow writes it anew, which fails for what is not as it expects
    ImageOps.exif_transpose(image, in_place=True)


def to_pixels(image: Image.Image, side: int, channels: int) -> Images:
    """Bring a picture of any mode to uint8 (side, side, channels), grey for 1 channel, RGB for 3.

    Transparency is composited over white. A picture of another size is scaled, smoothly, until it covers
    the square, and centre-cropped; one of the right size keeps its pixels. Raises ValueError for numbers
    that are no brightness (see ``_white``).
    """
    mode = "L" if channels == 1 else "RGB"
    image.load()  # before which some formats say another mode
    if image.mode != mode or image.has_transparency_data:
        image = _flatten(image, mode)
    if image.size != (side, side):
        image = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(side, side, channels)


def resize_all(images: Images, side: int, channels: int) -> Images:
    """Bring uint8 (n, H, W) grey or (n, H, W, 3) colour images ``to_pixels``, (n, side, side, channels)."""
    return np.stack([to_pixels(Image.fromarray(image), side, channels) for image in images])


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """A picture in ``mode``, L or RGB; beside it and the one given, a strip alone is in memory."""
    white = _white(image) if image.mode.startswith(("I", "F")) else 0
    flat = Image.new(mode, image.size)
    for box in _strips(image):
        flat.paste(_flatten_strip(image.crop(box), mode, white), box)
    return flat


def _strips(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of rows from the top down."""
    rows = max(STRIP // image.width, 1)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _flatten_strip(image: Image.Image, mode: str, white: int) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # A PNG's one transparent grey; 8 bits would not tell it from its neighbours.
        values = np.asarray(image)
        opaque = values != image.info.get("transparency")
        grey = np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8)
        image = Image.fromarray(np.stack([grey, opaque * np.uint8(255)], axis=2))
    if image.mode == "La":
        image = image.convert("LA")  # the one mode that Pillow makes of it
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")
    return image.convert(mode)


def _white(image: Image.Image) -> int:
    """What is white in a grey picture of 16-bit integers, 32-bit integers or floats.

    16-bit pictures range to 65535. The other two do not say how far they range: taken is the smallest of
    1 (floats only), 255 and 65535 that no pixel exceeds.
    """
    if image.mode.startswith("I;"):
        return 65535
    strips = (np.asarray(image.crop(box)) for box in _strips(image))
    lowest, highest = np.transpose([(strip.min(), strip.max()) for strip in strips])
    whites = (1, 255, 65535) if image.mode == "F" else (255, 65535)
    white = next((white for white in whites if highest.max() <= white), 0)
    if not white or not lowest.min() >= 0:
        raise ValueError("grey values outside 0 to 65535")
    return white
