"""Which class is taken for which.

# K classes
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from der.summary.charts.colours import GRADES, RIGHT, WRONG
from der.summary.charts.description import Categories, MatrixChart
from der.summary.charts.limits import MOST_WRITTEN
from der.summary.rounding import show_share

SHADES = (*WRONG, *RIGHT)
EXAMPLES = (1, 5, 20, 50, 100)  # percent, in the key


def confusion_chart(
    counts_KK: NDArray[np.int64], names: Sequence[str], sizes: Sequence[int], step: int
) -> MatrixChart:
    """The confusion matrix after a step, rows in percent of the true class's images.

    ``names`` are those of all classes, of which the step may have seen but the first; ``sizes`` are the
    numbers of classes seen after every step.
    """
    shares_KK = 100 * counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    seen, classes = len(counts_KK), len(names)
    places: list[tuple[int | None, ...]] = [(None,) * classes] * classes
    for true, row in enumerate(shares_KK.tolist()):
        cells = [grade(share, right=true == column) for column, share in enumerate(row)]
        places[true] = (*cells, *[None] * (classes - seen))
    labels = tuple(f"label {label}" for label in range(classes))
    edges = tuple(size - 0.5 for size in sizes[:-1])
    return MatrixChart(
        name="confusion",
        title=f"Confusion after step {step}, percent of the true class",
        rows=Categories("true class", tuple(names), labels, edges),
        columns=Categories("predicted class", tuple(names), labels, edges),
        places=tuple(places),
        shades=SHADES,
        texts=cell_texts(counts_KK) if seen <= MOST_WRITTEN else None,
        key=(
            *((f"wrong {share} %", grade(share, right=False) or 0) for share in EXAMPLES[:-1]),
            *((f"right {share} %", grade(share, right=True) or 0) for share in EXAMPLES[-2:]),
        ),
    )


def grade(share: float, *, right: bool) -> int | None:
    """The place in SHADES for a share in percent; by its square root, for confusions lie at the low end."""
    if share == 0:
        return None
    place = min(math.floor(GRADES * math.sqrt(share / 100)), GRADES - 1)
    return GRADES + place if right else place


def cell_texts(counts_KK: NDArray[np.int64]) -> tuple[tuple[str, ...], ...]:
    """What is written into the cells: whole percent of the row; nothing for none."""
    images_K = counts_KK.sum(axis=1).tolist()
    rows = zip(counts_KK.tolist(), images_K, strict=True)
    return tuple(tuple(_text(count, images) for count in row) for row, images in rows)


def _text(count: int, images: int) -> str:
    if count == 0:
        return ""
    return "<1" if 200 * count < images else show_share(count, images)
