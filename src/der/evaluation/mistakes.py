"""The predictions of a step's network for every test image, and its mistakes with their pictures.

B test images in label order, K classes seen, n wrong predictions, H and W pixels, C channels
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from der.core.files import write_array, write_json
from der.core.sealed import SealedDirectory
from der.data.arrays import every_row

PREDICTED = "predicted.npy"  # in the directory of a step's evaluation, as CONFIDENCE
CONFIDENCE = "confidence.npy"
IMAGES = "mistakes.npy"  # in the directory of a step's evaluation, as ENTRIES
ENTRIES = "mistakes.json"
SUREST = 50  # mistakes of the highest probability, which are kept at any size of the pictures
MOST = 1000  # mistakes that are kept of small pictures
MOST_PIXELS = 1 << 20  # of all pictures, beyond the surest


@dataclass(frozen=True)
class Predictions:
    """One predicted class for each image."""

    predicted: NDArray[np.int32]  # (B,) labels
    confidence: NDArray[np.float32]  # (B,) softmax of the predicted class


def predict(logits_BK: NDArray[np.floating[Any]]) -> Predictions:
    """The class of the largest logit, the first of equal ones, and its softmax, computed in float64."""
    logits = logits_BK.astype(np.float64)
    # The predicted class has the largest logit, so its softmax is one over this sum.
    confidence_B = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)
    return Predictions(logits_BK.argmax(1).astype(np.int32), confidence_B.astype(np.float32))


def write_predictions(directory: Path, predictions: Predictions) -> None:
    """Write both arrays into the directory of a step's evaluation."""
    write_array(directory / PREDICTED, predictions.predicted)
    write_array(directory / CONFIDENCE, predictions.confidence)


def read_predictions(path: Path) -> Predictions:
    """Read what ``write_predictions`` wrote; raises UserError naming a file that is missing or damaged."""
    sealed = SealedDirectory(path)
    return Predictions(sealed.read_array(PREDICTED), sealed.read_array(CONFIDENCE))


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
    pairs_n = labels_B[wrong_n] * len(names) + predictions.predicted[wrong_n]
    earlier: defaultdict[int, count[int]] = defaultdict(count)  # mistakes of the same pair
    places = np.array([next(earlier[pair]) for pair in pairs_n.tolist()], np.int64)
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
    return Mistakes(sealed.read_array(IMAGES), msgspec.convert(sealed.read_json(ENTRIES), list[Mistake]))
