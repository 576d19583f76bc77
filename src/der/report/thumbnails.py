"""Images as PNG files inside of the page, bounded in size and number.

# N images, H and W pixels, C channels
"""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from der.data.exemplars import Memory
from der.evaluation.mistakes import Mistake, Mistakes

COLUMNS = 10  # of a contact sheet
MOST_EXEMPLARS = 20  # of a class
LARGEST_EXEMPLAR = 64  # pixels
SMALLEST_EXEMPLAR = 16  # pixels to which many exemplars are scaled down; smaller ones stay as they are
MOST_PIXELS = 4_000_000  # of all exemplars together
SHOWN_EXEMPLAR = 48  # pixels of the screen, about
LARGEST_MISTAKE = 96  # pixels, in the file and on the screen


@dataclass(frozen=True)
class Picture:
    """A PNG file, and the size it is shown at, in pixels of the screen."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Sheet:
    """The exemplars of a class."""

    name: str
    picture: Picture
    shown: int
    total: int


@dataclass(frozen=True)
class Sheets:
    """The exemplars of all classes, in label order."""

    sheets: list[Sheet]
    side: int  # pixels of an exemplar in the page
    original: int  # pixels of an exemplar in the memory

    @property
    def cut(self) -> bool:
        """Whether any class has more exemplars than are shown."""
        return any(sheet.shown < sheet.total for sheet in self.sheets)


def exemplar_sheets(memory: Memory, names: list[str]) -> Sheets:
    """One contact sheet for each class, its exemplars in the memory's order, row by row."""
    original = memory.images.shape[1]
    classes = [memory.of_class(label) for label in range(len(names))]
    count = sum(min(len(images), MOST_EXEMPLARS) for images in classes)
    affordable = max(math.isqrt(MOST_PIXELS // max(count, 1)), SMALLEST_EXEMPLAR)
    side = min(original, LARGEST_EXEMPLAR, affordable)
    sheets = []
    for name, images in zip(names, classes, strict=True):
        kept = images[:MOST_EXEMPLARS]
        sheets.append(
            Sheet(name, _picture(_tiled(_scaled(kept, side)), side, SHOWN_EXEMPLAR), len(kept), len(images))
        )
    return Sheets(sheets, side, original)


def mistake_pictures(mistakes: Mistakes) -> list[tuple[Mistake, Picture]]:
    """Each mistake with its picture."""
    side = min(mistakes.images.shape[1], LARGEST_MISTAKE)
    images = _scaled(mistakes.images, side)
    return [
        (entry, _picture(image, side, LARGEST_MISTAKE))
        for entry, image in zip(mistakes.entries, images, strict=True)
    ]


def _scaled(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Images (N, H, W, C) at (N, side, side, C)."""
    if images.shape[1:3] == (side, side):
        return images
    scaled = np.empty((len(images), side, side, images.shape[3]), np.uint8)
    for source, target in zip(images, scaled, strict=True):
        small = Image.fromarray(_pixels(source)).resize((side, side), Image.Resampling.BOX)
        target[...] = np.asarray(small).reshape(target.shape)
    return scaled


def _tiled(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images side by side, ``COLUMNS`` in a row, with transparent gaps: (height, width, C + 1)."""
    count, side, _, channels = images.shape
    columns, rows = max(min(count, COLUMNS), 1), max(-(-count // COLUMNS), 1)
    pitch = side + max(1, side // 16)
    sheet = np.zeros((rows * pitch, columns * pitch, channels + 1), np.uint8)
    for place, image in enumerate(images):
        top, left = place // COLUMNS * pitch, place % COLUMNS * pitch
        sheet[top : top + side, left : left + side, :-1] = image
        sheet[top : top + side, left : left + side, -1] = 255
    return sheet


def _picture(pixels: NDArray[np.uint8], side: int, shown: int) -> Picture:
    """A PNG file of pixels (height, width, channels); ``side`` pixels are shown as about ``shown``."""
    stream = io.BytesIO()
    Image.fromarray(_pixels(pixels)).save(stream, format="png")
    uri = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    factor = max(1, round(shown / side))
    return Picture(uri, factor * pixels.shape[1], factor * pixels.shape[0])


def _pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As Pillow takes them: grey images without an axis of channels."""
    return image[:, :, 0] if image.shape[2] == 1 else image
