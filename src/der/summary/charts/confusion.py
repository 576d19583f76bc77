"""Which class is taken for which.

# K classes
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from der.summary.charts.colours import BLUES_ON_BLACK, BLUES_ON_WHITE, TEXT_ON_BLACK, TEXT_ON_WHITE
from der.summary.charts.description import Categories, ColourScale, Counts, MatrixChart, Tones
from der.summary.charts.limits import MOST_WRITTEN

SCALE = ColourScale(
    "share of the true class's test images",
    "%",
    0,
    100,
    (0, 1, 5, 10, 25, 50, 75, 100),
    light=Tones(BLUES_ON_WHITE, TEXT_ON_WHITE),
    dark=Tones(BLUES_ON_BLACK, TEXT_ON_BLACK),
    exponent=0.5,  # for confusions lie at the low end
)


def confusion_chart(counts_KK: NDArray[np.int64], names: Sequence[str], sizes: Sequence[int]) -> MatrixChart:
    """The confusion matrix after the last step, rows in percent of the true class's images.

    ``sizes`` are the numbers of classes seen after steps 1..T, the last of which is K.
    """
    shares_KK = 100 * counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    values = tuple(tuple(row) for row in shares_KK.tolist())
    edges = tuple(size - 0.5 for size in sizes[:-1]) if len(sizes) <= MOST_WRITTEN else ()
    return MatrixChart(
        name="confusion",
        title=f"Confusion after step {len(sizes)}",
        rows=Categories("true class", tuple(names), edges),
        columns=Categories("predicted class", tuple(names), edges),
        values=values,
        scale=SCALE,
        texts=tuple(tuple(map(_text, row)) for row in values) if len(names) <= MOST_WRITTEN else None,
        counts=Counts(tuple(tuple(row) for row in counts_KK.tolist()), "image", "images"),
    )


def _text(share: float) -> str:
    if share == 0:
        return ""
    return f"{share:.0f}" if share >= 0.5 else "<1"
