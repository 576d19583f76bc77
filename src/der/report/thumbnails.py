"""Pictures of exemplars and mistakes in the page: WebP files, bounded in size and number.

# N images, H and W pixels, C channels
"""

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from der.data.arrays import Memory
from der.evaluation.mistakes import Mistake, Mistakes

COLUMNS = 10  # of a contact sheet
MOST_EXEMPLARS = 20  # of a class; of very many classes fewer
MOST_MISTAKES = 30  # of a class; of very many classes fewer
LARGEST = 64  # pixels
SMALLEST = 16  # pixels to which many images are scaled down; smaller ones stay as they are
MOST_PIXELS = 3_000_000  # of all exemplars together, and of all mistakes
EXACT = 16  # pixels of an image's side up to which every pixel is kept as it is
QUALITY = 72  # of larger images, of 100
SHOWN = 44  # pixels of the screen, about


@dataclass(frozen=True)
class Sheet:
    """Images of a class side by side in one file, ``COLUMNS`` in a row."""

    uri: str
    side: int  # of an image, in pixels of the screen, as all that follows
    pitch: int  # from one image to the next
    width: int  # of the file
    height: int
    shown: int  # images
    total: int


@dataclass(frozen=True)
class Album:
    """The mistaken images of all classes, each once however many steps mistook it."""

    sheets: list[Sheet]  # by label; in all there are as many as are known, or as one step mistook
    shots: list[
        dict[int, list[int]]
    ]  # by step and true label: of each image its place, label taken for, percent
    whole: bool  # whether there are no more mistaken images than are known


def side_of(pixels: int, count: int) -> int:
    """Pixels of a side that each of ``count`` images, of so many ``pixels`` themselves, has in the page."""
    affordable = max(math.isqrt(MOST_PIXELS // max(count, 1)), SMALLEST)
    return min(pixels, LARGEST, affordable)


def most_of_a_class(most: int, classes: int) -> int:
    """At most ``most`` images, and no more than all classes can have of the smallest side."""
    return max(min(most, MOST_PIXELS // SMALLEST**2 // classes), 1)


def exemplar_sheets(memory: Memory, classes: int) -> list[Sheet]:
    """One sheet for each class, its exemplars in the memory's order, row by row."""
    most = most_of_a_class(MOST_EXEMPLARS, classes)
    groups = [memory.of_class(label) for label in range(classes)]
    side = side_of(memory.images.shape[0], sum(min(len(images), most) for images in groups))
    return [
        make_sheet(images.pick(np.arange(min(most, len(images)))).copy(), side, len(images))
        for images in groups
    ]


def mistake_album(
    mistakes: Sequence[Mistakes], confusions: Sequence[NDArray[np.int64]], names: Sequence[str]
) -> Album:
    """Sheets of what steps 1..T mistook, the last step's first; of many some of every step and pair."""
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
    sheets = [
        make_sheet(
            np.array([images[label][index] for index in numbers], np.uint8).reshape(-1, *shape),
            side,
            max(len(images[label]), *(_count_wrong(counts, label) for counts in confusions)),
        )
        for label, numbers in enumerate(chosen)
    ]
    places = [{number: place for place, number in enumerate(numbers)} for numbers in chosen]
    whole = all(
        len(one.entries) == counts.sum() - np.trace(counts)
        for one, counts in zip(mistakes, confusions, strict=True)
    )
    return Album(sheets, [_shots(one, labels, places) for one in mistakes], whole)


def choose_mistakes(steps: Sequence[Sequence[Mistake]], most: int) -> list[int]:
    """Numbers of at most ``most`` images of one class that steps 1..T mistook, the last step's surest first.

    Taken in turn from every step, the last one first, and within a step from every pair of classes, the
    surest first. An image that several steps mistook counts for each of them.
    """
    chosen: set[int] = set()
    for turn in zip_longest(*(_in_turn(entries) for entries in reversed(steps))):
        for entry in turn:
            if entry is not None and len(chosen) < most:
                chosen.add(entry.index)
    numbers = (entry.index for entries in reversed(steps) for entry in entries)
    return [number for number in dict.fromkeys(numbers) if number in chosen]


def _in_turn(entries: Sequence[Mistake]) -> list[Mistake]:
    """The surest of every pair of classes, then the second one of each, and so on."""
    seen: Counter[str] = Counter()
    places = []
    for entry in entries:
        places.append(seen[entry.predicted])
        seen[entry.predicted] += 1
    order = sorted(range(len(entries)), key=places.__getitem__)
    return [entries[index] for index in order]


def _count_wrong(counts_KK: NDArray[np.int64], label: int) -> int:
    if label >= len(counts_KK):
        return 0
    return int(counts_KK[label].sum() - counts_KK[label, label])


def _shots(mistakes: Mistakes, labels: dict[str, int], places: list[dict[int, int]]) -> dict[int, list[int]]:
    shots: dict[int, list[int]] = {}
    for entry in mistakes.entries:
        place = places[labels[entry.true]].get(entry.index)
        if place is not None:
            shot = [place, labels[entry.predicted], round(100 * entry.probability)]
            shots.setdefault(labels[entry.true], []).extend(shot)
    return shots


def make_sheet(images: NDArray[np.uint8], side: int, total: int | None = None) -> Sheet:
    """A sheet of images (N, H, W, C), each scaled to ``side``."""
    pixels = _tiled(_scaled(images, side))
    factor = max(1, round(SHOWN / side))
    return Sheet(
        _webp(pixels, exact=images.shape[1] <= EXACT),
        factor * side,
        factor * _pitch(side),
        factor * pixels.shape[1],
        factor * pixels.shape[0],
        len(images),
        len(images) if total is None else total,
    )


def _scaled(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Images (N, H, W, C) at (N, side, side, C)."""
    if images.shape[1:3] == (side, side):
        return images
    scaled = np.empty((len(images), side, side, images.shape[3]), np.uint8)
    for source, target in zip(images, scaled, strict=True):
        pixels = source[:, :, 0] if source.shape[2] == 1 else source
        small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
        target[...] = np.asarray(small).reshape(target.shape)
    return scaled


def _pitch(side: int) -> int:
    return side + max(1, side // 16)


def _tiled(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images side by side with transparent gaps: (height, width, 4)."""
    count, side, _, channels = images.shape
    columns, rows, pitch = max(min(count, COLUMNS), 1), max(-(-count // COLUMNS), 1), _pitch(side)
    sheet = np.zeros((rows * pitch, columns * pitch, 4), np.uint8)
    for place, image in enumerate(images):
        top, left = place // COLUMNS * pitch, place % COLUMNS * pitch
        sheet[top : top + side, left : left + side, :3] = image if channels == 3 else image[:, :, :1]
        sheet[top : top + side, left : left + side, 3] = 255
    return sheet


def _webp(pixels: NDArray[np.uint8], *, exact: bool) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="webp", lossless=exact, quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
