"""Mistakes of a step: their pictures, and what was taken for what.

# B test images, n wrong ones, H and W pixels, C channels
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.sealed import SealedDirectory
from der.core.serialization import write_array, write_json
from der.data.arrays import every_row
from der.evaluation.predictions import Predictions

IMAGES = "mistakes.npy"  # in the directory of a step's evaluation, as ENTRIES
ENTRIES = "mistakes.json"
SUREST = 50  # mistakes of the highest probability, which are kept at any size of the pictures
MOST = 1000  # mistakes that are kept of small pictures
MOST_PIXELS = 1 << 20  # of all pictures, beyond the surest


class Mistake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test image that was taken for another class."""

    true: str
    predicted: str
    probability: float  # softmax of the predicted class, in float32, rounded to 6 decimals
    index: int = msgspec.field(name="number")  # of the image among all test images in label order


@dataclass(frozen=True)
class Mistakes:
    """Mistakes of every pair of classes, the most confident first, with their pictures."""

    images: NDArray[np.uint8]  # (n, H, W, C)
    entries: list[Mistake]


def find_mistakes(
    predictions: Predictions, labels_B: NDArray[np.int64], names: Sequence[str], most: int
) -> list[Mistake]:
    """At most ``most`` wrong predictions, the most confident first; of equal ones the earlier first.

    The ``SUREST`` are among them, then the surest one of every pair of classes, then the second one, and so
    on. ``names`` are the classes' in label order.
    """
    wrong_n = np.flatnonzero(predictions.predicted != labels_B)
    wrong_n = wrong_n[np.argsort(-predictions.confidence[wrong_n], kind="stable")]
    places = _places_in_pairs(labels_B[wrong_n] * len(names) + predictions.predicted[wrong_n])
    places[:SUREST] = -1
    kept = np.sort(np.argsort(places, kind="stable")[:most])
    return [
        Mistake(
            names[labels_B[index]],
            names[predictions.predicted[index]],
            round(float(predictions.confidence[index]), 6),
            int(index),
        )
        for index in wrong_n[kept]
    ]


def _places_in_pairs(pairs_n: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the same pair come before each."""
    seen: Counter[int] = Counter()
    places = np.empty(len(pairs_n), np.int64)
    for index, pair in enumerate(pairs_n.tolist()):
        places[index] = seen[pair]
        seen[pair] += 1
    return places


def most_mistakes(pixels: int) -> int:
    """How many mistakes are kept of pictures of so many pixels."""
    return min(max(MOST_PIXELS // pixels, SUREST), MOST)


def with_images(entries: list[Mistake], tests: Sequence[NDArray[np.uint8]]) -> Mistakes:
    """Mistakes with their pictures, from the test images (N, H, W, C) of each class in label order."""
    indices = np.array([entry.index for entry in entries], np.int64)
    return Mistakes(every_row(tests).read(indices), entries)


def write_mistakes(directory: Path, mistakes: Mistakes) -> None:
    """Write pictures and entries into the directory of a step's evaluation."""
    write_array(directory / IMAGES, mistakes.images)
    write_json(directory / ENTRIES, msgspec.to_builtins(mistakes.entries))


def read_mistakes(path: Path) -> Mistakes:
    """Read what ``write_mistakes`` wrote; raises UserError naming a file that is missing or damaged."""
    sealed = SealedDirectory(path)
    images = sealed.read_array(IMAGES)
    try:
        entries = msgspec.convert(sealed.read_json(ENTRIES), list[Mistake])
    except msgspec.ValidationError:
        raise UserError(f"{path / ENTRIES}: no list of mistakes; run the step's evaluation again") from None
    if images.dtype != np.uint8 or images.ndim != 4:
        raise UserError(f"{path / IMAGES}: no pictures; run the step's evaluation again")
    if len(images) != len(entries):
        raise UserError(
            f"{path}: {len(images)} images but {len(entries)} mistakes; run the step's evaluation again"
        )
    return Mistakes(images, entries)
