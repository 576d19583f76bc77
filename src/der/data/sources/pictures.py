"""Converts pictures of any format, mode and size to arrays with one side and one number of channels."""

import io
import os
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from tqdm import tqdm

from der.core.errors import UserError
from der.data.sources import Images
from der.settings.sections import DatasetSettings

DEBRIS = ("__macosx", "icon\r", "thumbs.db", "desktop.ini", "@eadir")  # what operating systems leave behind
# Suffixes of what people and programs keep beside pictures, and Pillow does not read.
OTHER_FILES = tuple(Path(__file__).with_suffix(".txt").read_text(encoding="ascii").split())

MOST_WORKERS = 8  # threads; each holds a whole picture in memory
CHUNK = 128  # pictures decoded before the next are begun
MOST_NAMED = 20  # pictures in a message
LARGEST_PICTURE = 89_000_000  # pixels; a few kilobytes of file can claim more and exhaust the memory
LARGEST_JPEG = 250_000_000  # pixels before it is decoded smaller; a phone's best has 200 million
ONE_AT_A_TIME = 16_000_000  # pixels; pictures with more, 4 to 8 bytes each, wait for one another
DRAFT = 2  # times the wanted side: large JPEGs are decoded at a fraction of their size, but at least so large
BACKGROUND = "white"  # behind what is transparent
JPEG = b"\xff\xd8\xff"  # its first bytes

decoding_large = threading.Lock()


class Picture(NamedTuple):
    place: str  # where it is, for messages
    content: Path | bytes  # the file, or what is in it


class Fault(NamedTuple):
    place: str
    sentence: str


def is_ignored(name: str) -> bool:
    """Tell whether a file or folder of this name is hidden, or left behind by an operating system."""
    return name.startswith(".") or name.lower() in DEBRIS


def is_no_picture(name: str) -> bool:
    return is_ignored(name) or name.lower().endswith(OTHER_FILES)


def decode(
    pictures: Iterable[Picture], side: int, channels: int, total: int | None = None
) -> Generator[Images | Fault, None, None]:
    """Decode pictures in threads, a chunk at a time; yield each image, or its fault, in order."""
    Image.init()  # two threads could miss a format while Pillow still loads its formats
    left = iter(pictures)
    with (
        ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_WORKERS)) as pool,
        tqdm(total=total, unit="picture", disable=None if total else True, leave=False) as bar,
    ):
        while chunk := list(islice(left, CHUNK)):
            for found in pool.map(lambda one: _decode(one, side, channels), chunk):
                bar.update()
                yield found


def _decode(picture: Picture, side: int, channels: int) -> Images | Fault:
    place, content = picture
    try:
        if isinstance(content, bytes):
            return read_picture(io.BytesIO(content), place, side, channels)
        if content.exists() and not content.is_file():  # opening a pipe waits for someone to write
            return Fault(place, f"{place}: no file that can be read; give pictures, or remove it")
        return read_picture(content, place, side, channels)
    except UserError as error:
        return Fault(place, str(error))


def write_decoded(
    file: Path, places: Sequence[int], decoded: Iterator[Images | Fault], settings: DatasetSettings
) -> list[Fault]:
    """Write the next images of ``decoded`` as .npy file, image i to row ``places[i]``; return the faults."""
    shape = (len(places), settings.side, settings.side, settings.channels)
    faults = []
    with file.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        start = stream.tell()
        for place in places:
            found = next(decoded)
            if isinstance(found, Fault):
                faults.append(found)
            else:
                stream.seek(start + place * found.nbytes)
                stream.write(found.tobytes())
    return faults


def describe(faults: Sequence[Fault]) -> str:
    """Describe in one sentence all pictures that cannot be read."""
    if len(faults) == 1:
        return faults[0].sentence
    names = ", ".join(fault.place for fault in faults[:MOST_NAMED])
    more = f" and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
    advice = "convert them to JPEG, repair or remove them"
    return f"{len(faults)} pictures cannot be read or are too large; {advice}: {names}{more}"


def read_picture(file: Path | IO[bytes], where: str, side: int, channels: int) -> Images:
    """Decode the first frame of a file, or of a stream of its bytes, and convert it by ``to_pixels``.

    The EXIF orientation turns it. ``where`` names the file in messages. Raises UserError for a file that is
    no picture, damaged, or a PostScript program, and for over 89 million pixels (250 million for a JPEG).
    """
    try:
        with _open(file) as image:
            if image.format == "EPS":
                raise ValueError("EPS is a program that draws; save what it draws as PNG")
            suffix = file.suffix.lower() if isinstance(file, Path) else ""
            if image.format == "TIFF" and suffix and suffix not in Image.registered_extensions():
                raise UnidentifiedImageError  # a camera's raw file, of which Pillow reads only the thumbnail
            with decoding_large if _draft(image, side) > ONE_AT_A_TIME else nullcontext():
                _turn(image)
                return to_pixels(image, side, channels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{where}: too many pixels; make it smaller ({error})") from None
    except UnidentifiedImageError:
        raise UserError(f"{where}: cannot be read as a picture; convert it to JPEG or remove it") from None
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise UserError(f"{where}: cannot be read as a picture; repair or remove it ({error})") from None


def _open(file: Path | IO[bytes]) -> Image.Image:
    """Open a picture; for a JPEG without Pillow's limit, because the JPEG is decoded smaller."""
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as stream:
        is_jpeg = stream.read(len(JPEG)) == JPEG
        stream.seek(0)
    return JpegImageFile(file) if is_jpeg else Image.open(file)


def _draft(image: Image.Image, side: int) -> int:
    """Make a large JPEG be decoded small; return its pixels in memory, or raise UserError for too many."""
    width, height = image.size
    image.draft(image.mode, (DRAFT * side, DRAFT * side))
    pixels = image.width * image.height
    if pixels > LARGEST_PICTURE or width * height > LARGEST_JPEG:
        raise Image.DecompressionBombError(f"{width}x{height}")
    return width * height if "progressive" in image.info else pixels


def _turn(image: Image.Image) -> None:
    """Turn a picture by its EXIF orientation; keep it as it is if its EXIF data cannot be read."""
    image.load()
    try:
        image.getexif()
    except Exception:
        return
    for key in ("exif", "Raw profile type exif"):
        image.info.pop(key, None)  # else Pillow writes it again, which fails for unexpected values
    ImageOps.exif_transpose(image, in_place=True)


def resize_all(images: Images, side: int, channels: int) -> Images:
    """Convert uint8 (n, H, W) grey or (n, H, W, 3) colour images to (n, side, side, channels)."""
    return np.stack([to_pixels(Image.fromarray(image), side, channels) for image in images])


def to_pixels(image: Image.Image, side: int, channels: int) -> Images:
    """Convert a picture of any mode to uint8 (side, side, channels), grey for 1 channel, RGB for 3.

    Transparency is composited over white. A picture of another size is scaled smoothly until it covers the
    square, and centre-cropped; one of the right size keeps its pixels. Raises ValueError for numbers that
    are no brightness (see ``_white``).
    """
    mode = "L" if channels == 1 else "RGB"
    image.load()  # before which some formats say another mode
    if image.mode != mode or image.has_transparency_data:
        image = _flatten(image, mode)
    if image.size != (side, side):
        image = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(side, side, channels)


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # A PNG's single transparent grey; 8 bits could not distinguish it from its neighbours.
        values = np.asarray(image)
        opaque = values != image.info.get("transparency")
        grey = np.rint(values.astype(np.float64) * (255 / _white(image.mode, values))).astype(np.uint8)
        image = Image.fromarray(np.stack([grey, opaque * np.uint8(255)], axis=2))
    if image.mode == "La":
        image = image.convert("LA")  # the one mode that Pillow makes of it
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")
    return image.convert(mode)


def _white(mode: str, values: NDArray[Any]) -> int:
    """Return the value of white in a grey picture: 65535 for 16 bits, else a limit that no pixel exceeds."""
    if mode.startswith("I;"):
        return 65535
    whites = (1, 255, 65535) if mode == "F" else (255, 65535)
    white = next((white for white in whites if values.max() <= white), 0)
    if not white or not values.min() >= 0:
        raise ValueError("grey values outside 0 to 65535")
    return white
