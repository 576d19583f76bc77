"""Makes the page's pictures of exemplars and mistakes: WebP files with limited size and number.

# N images, H and W pixels, C channels
"""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from der.data.arrays import Memory
from der.evaluation.results import Mistake, Mistakes

COLUMNS = 10  # of a contact sheet
MOST_EXEMPLARS = 20  # of a class; of very many classes fewer
MOST_MISTAKES = 30  # of a class; of very many classes fewer
LARGEST = 64  # pixels
SMALLEST = 16  # pixels to which many images are scaled down; smaller ones stay as they are
MOST_PIXELS = 3_000_000  # of all exemplars together, and of all mistakes
EXACT = 16  # pixels of an image's side up to which every pixel is kept as it is
QUALITY = 72  # of larger images, of 100
SHOWN = 44  # pixels of the screen, about


class Sheet(NamedTuple):
    """Images of a class side by side in one file, ``COLUMNS`` per row."""

    uri: str
    side: int  # of an image, in pixels of the screen, as all that follows
    pitch: int  # from one image to the next
    width: int  # of the file
    height: int
    shown: int  # images
    total: int


class Album(NamedTuple):
    """The mistaken images of all classes, each only once for all steps."""

    sheets: list[Sheet]  # by label; in all there are as many as are known, or as one step mistook
    # By step and true label: of each image its place, label taken for, percent.
    shots: list[dict[int, list[tuple[int, int, int]]]]
    whole: bool  # whether there are no more mistaken images than are known


def side_of(pixels: int, count: int) -> int:
    """Compute the side in the page, in pixels, of each of ``count`` images with ``pixels`` of their own."""
    return min(pixels, LARGEST, max(math.isqrt(MOST_PIXELS // max(count, 1)), SMALLEST))


def most_of_a_class(most: int, classes: int) -> int:
    """Limit the images per class to ``most``, and to the number that fits at the smallest side."""
    return max(min(most, MOST_PIXELS // SMALLEST**2 // classes), 1)


def exemplar_sheets(memory: Memory, classes: int) -> list[Sheet]:
    """Make one sheet per class, with its exemplars in the memory's order, row by row."""
    most = most_of_a_class(MOST_EXEMPLARS, classes)
    groups = [memory.of_class(label) for label in range(classes)]
    side = side_of(memory.images.shape[0], sum(min(len(images), most) for images in groups))
    shown = [images.pick(np.arange(min(most, len(images)))).copy() for images in groups]
    return [make_sheet(some, side, len(images)) for some, images in zip(shown, groups, strict=True)]


def mistake_album(
    mistakes: Sequence[Mistakes], confusions: Sequence[NDArray[np.int64]], names: Sequence[str]
) -> Album:
    """Make sheets of the mistakes of steps 1..T, the last step's first; of many, some per step and pair."""
    labels = {name: label for label, name in enumerate(names)}
    entries: list[list[list[Mistake]]] = [[[] for _ in mistakes] for _ in names]
    images: list[dict[int, NDArray[np.uint8]]] = [{} for _ in names]
    for step, one in enumerate(mistakes):
        for entry, image in zip(one.entries, one.images, strict=True):
            entries[labels[entry.true]][step].append(entry)
            images[labels[entry.true]][entry.index] = image
    most = most_of_a_class(MOST_MISTAKES, len(names))
    chosen = [choose_mistakes(steps, most) for steps in entries]
    shape = mistakes[-1].images.shape[1:]
    side = side_of(shape[0], sum(map(len, chosen)))
    wrong = [counts.sum(axis=1) - np.diag(counts) for counts in confusions]  # by step and label
    sheets: list[Sheet] = []
    shots: list[dict[int, list[tuple[int, int, int]]]] = [{} for _ in mistakes]
    for label, numbers in enumerate(chosen):
        pixels = np.array([images[label][number] for number in numbers], np.uint8).reshape(-1, *shape)
        total = max(len(images[label]), *(int(one[label]) for one in wrong if label < len(one)))
        sheets.append(make_sheet(pixels, side, total))
        places = {number: place for place, number in enumerate(numbers)}
        for found, mistaken in zip(shots, entries[label], strict=True):
            if known := [entry for entry in mistaken if entry.index in places]:
                shares = [round(100 * one.probability) for one in known]
                taken_for = [(places[one.index], labels[one.predicted]) for one in known]
                found[label] = [(*pair, share) for pair, share in zip(taken_for, shares, strict=True)]
    counts = [len(one.entries) for one in mistakes]
    return Album(sheets, shots, whole=counts == [one.sum() for one in wrong])


def choose_mistakes(steps: Sequence[Sequence[Mistake]], most: int) -> list[int]:
    """Choose at most ``most`` mistaken images of one class, the last step's most confident first.

    It takes them in turn from every step, the last one first, and within a step from every pair of classes,
    the most confident first. An image that several steps mistook counts for each of them.
    """
    by_step = []
    for entries in reversed(steps):
        pairs: dict[str, list[Mistake]] = {}
        for entry in entries:
            pairs.setdefault(entry.predicted, []).append(entry)
        by_step.append(_in_turn(pairs.values()))
    chosen = list(dict.fromkeys(entry.index for entry in _in_turn(by_step)))[:most]
    numbers = (entry.index for entries in reversed(steps) for entry in entries)
    return [number for number in dict.fromkeys(numbers) if number in chosen]


def _in_turn(groups: Iterable[Iterable[Mistake]]) -> list[Mistake]:
    """Yield the first item of every group, then the second of each, and so on."""
    return [entry for turn in zip_longest(*groups) for entry in turn if entry is not None]


def make_sheet(images: NDArray[np.uint8], side: int, total: int) -> Sheet:
    """Make a sheet of images (N, H, W, C), each scaled to ``side``."""
    count, height, _, channels = images.shape
    pitch = side + max(1, side // 16)
    columns, rows = max(min(count, COLUMNS), 1), max(-(-count // COLUMNS), 1)
    pixels = np.zeros((rows * pitch, columns * pitch, 4), np.uint8)  # transparent between images
    for place, image in enumerate(images):
        if image.shape[0] != side:
            whole = Image.fromarray(image if channels == 3 else image[:, :, 0])
            image = np.asarray(whole.resize((side, side), Image.Resampling.BOX)).reshape(side, side, channels)
        top, left = place // COLUMNS * pitch, place % COLUMNS * pitch
        pixels[top : top + side, left : left + side, :3] = image
        pixels[top : top + side, left : left + side, 3] = 255
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="webp", lossless=height <= EXACT, quality=QUALITY, method=4)
    uri = "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    factor = max(1, round(SHOWN / side))
    high, wide, _ = pixels.shape
    return Sheet(uri, factor * side, factor * pitch, factor * wide, factor * high, count, total)
