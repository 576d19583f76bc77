"""The most confident mistakes of a step: their pictures, and what was taken for what.

# B test images, K classes seen, n mistakes, H and W pixels, C channels
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from der.common.errors import UserError
from der.common.sealed import SealedDirectory
from der.common.serialization import write_array, write_json

IMAGES = "mistakes.npy"  # in the directory of a step's evaluation, as ENTRIES
ENTRIES = "mistakes.json"
MOST = 50  # mistakes that are kept


class Mistake(TypedDict):
    """A test image that was taken for another class."""

    true: str
    predicted: str
    probability: float  # softmax of the predicted class, rounded to 6 decimals
    number: int  # of the image among all test images in label order, from 0


@dataclass(frozen=True)
class Mistakes:
    """Mistakes, the most confident first, with their pictures."""

    images: NDArray[np.uint8]  # (n, H, W, C)
    entries: list[Mistake]


def find_mistakes(
    logits_BK: NDArray[np.floating[Any]], labels_B: NDArray[np.int64], names: Sequence[str]
) -> list[Mistake]:
    """The at most ``MOST`` wrong predictions of the highest probability; of equal ones the earlier first.

    ``names`` are the classes' in label order. Probabilities are computed in float64.
    """
    predicted_B = logits_BK.argmax(1)
    wrong_n = np.flatnonzero(predicted_B != labels_B)
    wrong_nK = logits_BK[wrong_n].astype(np.float64)
    # The predicted class has the largest logit, so its softmax is one over this sum.
    probabilities_n = 1 / np.exp(wrong_nK - wrong_nK.max(1, keepdims=True)).sum(1)
    order = np.argsort(-probabilities_n, kind="stable")[:MOST]
    return [
        {
            "true": names[labels_B[index]],
            "predicted": names[predicted_B[index]],
            "probability": round(float(probability), 6),
            "number": int(index),
        }
        for index, probability in zip(wrong_n[order], probabilities_n[order], strict=True)
    ]


def with_images(entries: list[Mistake], tests: Sequence[NDArray[np.uint8]]) -> Mistakes:
    """Mistakes with their pictures, from the test images (N, H, W, C) of each class in label order."""
    ends = np.cumsum([len(images) for images in tests])
    picked = np.empty((len(entries), *tests[0].shape[1:]), np.uint8)
    for place, entry in enumerate(entries):
        label = int(np.searchsorted(ends, entry["number"], side="right"))
        picked[place] = tests[label][entry["number"] - ends[label]]  # counted from the class's end
    return Mistakes(picked, entries)


def write_mistakes(directory: Path, mistakes: Mistakes) -> None:
    """Write pictures and entries into the directory of a step's evaluation."""
    write_array(directory / IMAGES, mistakes.images)
    write_json(directory / ENTRIES, mistakes.entries)


def read_mistakes(path: Path) -> Mistakes:
    """Read what ``write_mistakes`` wrote; raises UserError naming a file that is missing or damaged."""
    sealed = SealedDirectory(path)
    images, entries = sealed.read_array(IMAGES), sealed.read_json(ENTRIES)
    wanted = Mistake.__required_keys__
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and entry.keys() == wanted for entry in entries
    ):
        raise UserError(f"{path / ENTRIES}: no list of mistakes; run the step's evaluation again")
    if images.dtype != np.uint8 or images.ndim != 4:
        raise UserError(f"{path / IMAGES}: no pictures; run the step's evaluation again")
    if len(images) != len(entries):
        raise UserError(
            f"{path}: {len(images)} images but {len(entries)} mistakes; run the step's evaluation again"
        )
    return Mistakes(images, entries)
