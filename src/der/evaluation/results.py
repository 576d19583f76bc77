"""The results of a step's evaluation: metrics, the confusion matrix, predictions, mistakes with pictures.

All accuracies are in percent, rounded to 4 decimals.

B test images in label order, C classes seen, D features, n wrong predictions, H and W pixels
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, count, pairwise
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import msgspec
import numpy as np
from numpy.typing import NDArray

from der.core.errors import QUOTE, csv_cell
from der.core.files import SealedDirectory, write_array, write_csv, write_json
from der.data.arrays import every_row
from der.model.architecture import in_parts, normalize_features

METRICS = "metrics.json"  # in the directory of a step's evaluation
TOP_K = 5  # with fewer than five classes top-5 is top-C: every image counts as right
CONFUSION = "confusion.csv"  # in the directory of a step's evaluation


class Breakdown(TypedDict):
    """Accuracies of one way of predicting, in percent, from 0 to 100.

    Attributes
    ----------
    top1
        Percent of the test images whose class has the highest score.
    top5
        Percent of the test images whose class is among the five highest scores.
    old
        Percent, top-1 on the classes of earlier steps; None at step 1.
    new
        Percent, top-1 on the classes of the last step.
    per_step
        Percent, top-1 on the classes of each step, "1", "2", ...
    per_group
        Percent, top-1 on each group of labels, "0-9", "10-19", ...
    per_class
        Percent, top-1 by class name, in label order.
    """

    top1: float
    top5: float
    old: float | None
    new: float
    per_step: dict[str, float]
    per_group: dict[str, float]
    per_class: dict[str, float]


class StepMetrics(Breakdown):
    """All measurements after one step: the classifier's ``Breakdown``, and more.

    Attributes
    ----------
    step
        Which step, counted from 1.
    classes
        Number of classes seen so far.
    test_images
        Number of test images of all classes seen.
    nme
        The same breakdown by nearest mean of exemplars, in percent.
    parameters
        Number of the network's parameters.
    parameters_trained
        Number of parameters that the step trained, auxiliary classifier and masks included.
    checkpoint_bytes
        Bytes of the files of the step's checkpoint.
    memory_images
        Number of exemplars in memory.
    memory_bytes
        Bytes of the files of the step's memory.
    gamma
        Factor of weight alignment; None without weight alignment.
    unknown_auroc
        AUROC in percent, known images against those of a class left out; frozen, three or more classes.
    frozen_top1
        Percent, top-1 of a logistic regression on the exemplars, with the features of the first extractor
        alone; not of frozen networks, nor above 5,000 exemplars.
    """

    step: int
    classes: int
    test_images: int
    nme: Breakdown
    parameters: int
    parameters_trained: int
    checkpoint_bytes: int
    memory_images: int
    memory_bytes: int
    gamma: float | None
    unknown_auroc: NotRequired[float]
    frozen_top1: NotRequired[float]


def ranks(scores_BC: NDArray[np.floating[Any]], labels_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """Compute the rank of each image's true class among all scores, (B,), 0 for the best.

    The rank is the number of classes that score higher. Among equal scores the smaller label comes first,
    so rank 0 means ``scores.argmax(1) == labels``. Scores must not be NaN.
    """
    assert not np.isnan(scores_BC).any()
    images, classes = scores_BC.shape
    true_B1 = scores_BC[np.arange(images), labels_B][:, None]
    earlier_BC = np.arange(classes) < labels_B[:, None]
    before_BC = (scores_BC > true_B1) | ((scores_BC == true_B1) & earlier_BC)
    ranks_B: NDArray[np.int64] = before_BC.sum(axis=1, dtype=np.int64)
    return ranks_B


def breakdown(
    ranks_B: NDArray[np.int64], labels_B: NDArray[np.int64], steps: list[list[str]], group_labels: int
) -> Breakdown:
    """Break the accuracy of ``ranks_B`` (see ``ranks``) down by steps, groups of labels and classes.

    ``steps`` has the names of each step's classes, in label order: labels count through all steps. Each
    group has ``group_labels`` labels, the last one the remainder. Every class must have a test image.
    """
    names = [name for step in steps for name in step]
    bounds = [0, *accumulate(len(step) for step in steps)]
    right_B = ranks_B == 0

    def top1(low: int, high: int) -> float:
        return percent(right_B[(labels_B >= low) & (labels_B < high)])

    groups = [(low, min(low + group_labels, len(names))) for low in range(0, len(names), group_labels)]
    return {
        "top1": percent(right_B),
        "top5": percent(ranks_B < TOP_K),
        "old": top1(0, bounds[-2]) if len(steps) > 1 else None,
        "new": top1(bounds[-2], bounds[-1]),
        "per_step": {str(k): top1(*ends) for k, ends in enumerate(pairwise(bounds), start=1)},
        "per_group": {f"{low}-{high - 1}": top1(low, high) for low, high in groups},
        "per_class": {name: top1(label, label + 1) for label, name in enumerate(names)},
    }


def percent(right_B: NDArray[np.bool_]) -> float:
    """Compute the share of true entries, in percent, rounded to 4 decimals."""
    assert right_B.size > 0
    return round(100 * int(right_B.sum()) / right_B.size, 4)


def confusion_matrix(
    labels_B: NDArray[np.int64], predicted_B: NDArray[np.integer[Any]], classes: int
) -> NDArray[np.int64]:
    """Count images by true label (rows) and predicted label (columns), (C, C)."""
    counts = np.bincount(labels_B * classes + predicted_B, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def write_confusion(directory: Path, matrix: NDArray[np.int64], names: list[str]) -> None:
    """Write counts (C, C), a row per true class, a column per predicted class; no name becomes a formula."""
    cells = [csv_cell(name) for name in names]
    rows = [[cell, *counts] for cell, counts in zip(cells, matrix.tolist(), strict=True)]
    write_csv(directory / CONFUSION, [["true", *cells], *rows])


def read_confusion(directory: Path) -> tuple[NDArray[np.int64], list[str]]:
    """Read counts (C, C) and class names in label order; raises UserError naming a damaged file."""
    path = SealedDirectory(directory).file(CONFUSION)
    with path.open(encoding="utf-8", newline="") as stream:
        head, *rows = csv.reader(stream, strict=True)
    return np.array([row[1:] for row in rows], np.int64), [cell.removeprefix(QUOTE) for cell in head[1:]]


def nearest_mean_scores(
    features_BD: NDArray[np.floating[Any]], means_CD: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Return minus the L2 distance of each feature to each class mean, (B, C): iCaRL, section 3.1.

    Features are L2-normalised here; ``means_CD`` are used as they are. The sums are in float64, so that
    the expanded square is precise enough.
    """
    means = means_CD.astype(np.float64, copy=False)

    def scores(some_BD: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        features = normalize_features(some_BD)
        squares_BC = (features**2).sum(1)[:, None] + (means**2).sum(1) - 2 * features @ means.T
        found: NDArray[np.float64] = -np.sqrt(np.maximum(squares_BC, 0))
        return found

    return np.concatenate([scores(some) for some in in_parts(features_BD)])


PREDICTED = "predicted.npy"  # in the directory of a step's evaluation, as CONFIDENCE
CONFIDENCE = "confidence.npy"
IMAGES = "mistakes.npy"  # in the directory of a step's evaluation, as ENTRIES
ENTRIES = "mistakes.json"
SUREST = 50  # most confident mistakes, which are kept at any size of the pictures
MOST = 1000  # mistakes that are kept of small pictures
MOST_PIXELS = 1 << 20  # of all pictures, besides the most confident mistakes


@dataclass(frozen=True)
class Predictions:
    """One predicted class for each image."""

    predicted: NDArray[np.int32]  # (B,) labels
    confidence: NDArray[np.float32]  # (B,) softmax of the predicted class


def predict(logits_BK: NDArray[np.floating[Any]]) -> Predictions:
    """Return the class of the largest logit, the first of equal ones, and its softmax in float64."""
    logits = logits_BK.astype(np.float64)
    # The predicted class has the largest logit, so its softmax is one over this sum.
    confidence_B = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)
    return Predictions(logits_BK.argmax(1).astype(np.int32), confidence_B.astype(np.float32))


def write_predictions(directory: Path, predictions: Predictions) -> None:
    write_array(directory / PREDICTED, predictions.predicted)
    write_array(directory / CONFIDENCE, predictions.confidence)


def read_predictions(path: Path) -> Predictions:
    """Read the files of ``write_predictions``; raises UserError naming a missing or damaged file."""
    sealed = SealedDirectory(path)
    return Predictions(sealed.read_array(PREDICTED), sealed.read_array(CONFIDENCE))


class Mistake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test image for which another class was predicted."""

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
    """Find at most ``most`` wrong predictions, the most confident first; the earlier first of equal ones.

    They include the ``SUREST``, then the most confident one of every pair of classes, then the second ones,
    and so on. ``names`` are the class names in label order.
    """
    wrong_n = np.flatnonzero(predictions.predicted != labels_B)
    wrong_n = wrong_n[np.argsort(-predictions.confidence[wrong_n], kind="stable")]
    pairs_n = labels_B[wrong_n] * len(names) + predictions.predicted[wrong_n]
    earlier: defaultdict[int, count[int]] = defaultdict(count)  # mistakes of the same pair
    places = np.array([next(earlier[pair]) for pair in pairs_n.tolist()], np.int64)
    places[:SUREST] = -1
    kept = np.sort(np.argsort(places, kind="stable")[:most])
    wrong_n = wrong_n[kept]
    true, predicted = ([names[one] for one in found[wrong_n]] for found in (labels_B, predictions.predicted))
    probabilities = [round(float(one), 6) for one in predictions.confidence[wrong_n]]
    return list(map(Mistake, true, predicted, probabilities, wrong_n.tolist()))


def most_mistakes(pixels: int) -> int:
    """Return how many mistakes are kept if pictures have so many pixels."""
    return min(max(MOST_PIXELS // pixels, SUREST), MOST)


def with_images(entries: list[Mistake], tests: Sequence[NDArray[np.uint8]]) -> Mistakes:
    """Add pictures to mistakes, from the test images (N, H, W, C) of each class in label order."""
    indices = np.array([entry.index for entry in entries], np.int64)
    return Mistakes(every_row(tests).read(indices), entries)


def write_mistakes(directory: Path, mistakes: Mistakes) -> None:
    """Write pictures and entries into the directory of a step's evaluation."""
    write_array(directory / IMAGES, mistakes.images)
    write_json(directory / ENTRIES, msgspec.to_builtins(mistakes.entries))


def read_mistakes(path: Path) -> Mistakes:
    """Read the files of ``write_mistakes``; raises UserError naming a missing or damaged file."""
    sealed = SealedDirectory(path)
    return Mistakes(sealed.read_array(IMAGES), msgspec.convert(sealed.read_json(ENTRIES), list[Mistake]))
