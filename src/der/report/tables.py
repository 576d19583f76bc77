"""The rows of the page's tables.

# K classes
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from der.evaluation.metrics import StepMetrics
from der.summary.uncertainty import sampling_error

MOST_PAIRS = 1000  # rows of confused pairs
LONGEST_WORD = 40  # letters; words of so many have room beside the numbers
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Pair:
    """Images of one class that were taken for another."""

    true: str
    predicted: str
    images: int
    of: int  # the true class has


@dataclass(frozen=True)
class ClassRow:
    """How one class fares."""

    label: int
    name: str
    step: int  # that brought it
    images: int  # test images
    accuracy: float  # after the last step
    error: float  # of sampling, in points
    nme: float  # accuracy by nearest mean of exemplars
    curve: list[float]  # accuracy after each step from its own on
    taken_for: list[Pair]  # the most frequent first


@dataclass(frozen=True)
class Parameter:
    """A line of params.yaml; ``value`` is None for a section."""

    depth: int
    key: str
    value: str | None


def confused_pairs(counts_KK: NDArray[np.int64], names: list[str]) -> list[Pair]:
    """All pairs with a confused image, the most frequent first, then in label order."""
    images_K = counts_KK.sum(axis=1)
    wrong_KK = counts_KK - np.diag(np.diag(counts_KK))
    order = np.argsort(-wrong_KK, axis=None, kind="stable")[: np.count_nonzero(wrong_KK)]
    return [
        Pair(
            names[true],
            names[predicted],
            int(wrong_KK[true, predicted]),
            int(images_K[true]),
        )
        for true, predicted in zip(*np.unravel_index(order, wrong_KK.shape), strict=True)
    ]


def class_rows(counts_KK: NDArray[np.int64], names: list[str], steps: list[StepMetrics]) -> list[ClassRow]:
    """A row for each class, in label order."""
    by_true: dict[str, list[Pair]] = {name: [] for name in names}
    for pair in confused_pairs(counts_KK, names):
        by_true[pair.true].append(pair)
    last = steps[-1]
    rows = []
    for label, name in enumerate(names):
        first = next(index for index, step in enumerate(steps) if label < step["classes"])
        images, accuracy = int(counts_KK[label].sum()), last["per_class"][name]
        rows.append(
            ClassRow(
                label,
                name,
                first + 1,
                images,
                accuracy,
                sampling_error(accuracy, images),
                last["nme"]["per_class"][name],
                [step["per_class"][name] for step in steps[first:]],
                by_true[name],
            )
        )
    return rows


def parameter_lines(section: dict[str, Any], depth: int = 0) -> Iterator[Parameter]:
    """Nested parameters line by line, each section before what it holds."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield Parameter(depth, key, None)
            yield from parameter_lines(value, depth + 1)
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield Parameter(depth, key, text)


def breakable(name: str) -> Markup:
    """A name as mark-up that a table may break within words longer than any language's, and there alone."""
    pieces = re.split(rf"(\S{{{LONGEST_WORD}}})(?=\S)", name)
    return Markup("<wbr>").join(piece for piece in pieces if piece)


def show_bytes(count: int) -> str:
    """A number of bytes with a decimal unit."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {UNITS[unit]}"
