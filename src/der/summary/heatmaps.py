"""The plots that are matrices. Each function draws one PNG file, byte-identical for equal input."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from der.summary.style import axis_names, drawing

MANY = 20  # beyond so many rows, cells are too small for numbers
MOST_NAMES = 50  # beyond so many classes, axes count labels instead of naming classes


def draw_accuracy_matrix(matrix_TT: NDArray[np.float64], path: Path) -> None:
    """Draw ``series.accuracy_matrix``: row, after which step; column, on which step's classes."""
    count = len(matrix_TT)
    side = min(max(0.5 * count, 3.5), 9)
    with drawing(path, side + 2, side + 1) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(matrix_TT, cmap="viridis", vmin=0, vmax=100)
        if count <= MANY:
            write_cells(axes, image, matrix_TT, decimals=1)
        shown = [i for i in range(count) if count <= MANY or i == 0 or (i + 1) % 5 == 0]
        numbers = [str(i + 1) for i in shown]
        axes.set_xticks(shown, numbers)
        axes.set_yticks(shown, numbers)
        axes.set_xlabel("classes of step")
        axes.set_ylabel("after step")
        axes.set_title("Accuracy on each step's classes")
        _add_bar(figure, axes, image, "top-1 (%)")


def draw_confusion(counts_CC: NDArray[np.int64], names: list[str], starts: list[int], path: Path) -> None:
    """Draw a confusion matrix, rows in percent of the true class's images.

    ``starts`` are the first labels of steps 2..T; lines part the steps' classes there.
    """
    classes = len(names)
    shares_CC = 100 * counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)
    side = min(max(0.45 * classes, 3.5), 10)
    with drawing(path, side + 3, side + 2) as figure:
        axes = figure.add_subplot()
        # The square root spreads the low end, where confusions lie.
        image = axes.imshow(shares_CC, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
        if classes <= MANY:
            write_cells(axes, image, np.where(shares_CC > 0, shares_CC, np.nan), decimals=0)
        if classes <= MOST_NAMES:
            shown = axis_names(names)
            size = 10 if classes <= MANY else 8
            turn = 90 if max(map(len, shown)) > 3 else 0
            axes.set_xticks(range(classes), shown, rotation=turn, fontsize=size)
            axes.set_yticks(range(classes), shown, fontsize=size)
        if len(starts) < MANY:
            for start in starts:
                axes.axhline(start - 0.5, color="0.6", linewidth=0.8)
                axes.axvline(start - 0.5, color="0.6", linewidth=0.8)
        unit = "class" if classes <= MOST_NAMES else "label"
        axes.set_xlabel(f"predicted {unit}")
        axes.set_ylabel(f"true {unit}")
        axes.set_title(f"Confusion after step {len(starts) + 1}")
        bar = _add_bar(figure, axes, image, "share of the true class's test images (%)")
        bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])


def write_cells(axes: Axes, image: AxesImage, values: NDArray[np.float64], *, decimals: int) -> None:
    """Write each number that is not NaN into its cell, in black or white, whichever has more contrast."""
    colours = image.to_rgba(values)[..., :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    light = linear @ (0.2126, 0.7152, 0.0722) > 0.179  # WCAG 2's relative luminance; both 4.6 there
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            axes.text(
                column,
                row,
                f"{value:.{decimals}f}",
                color="black" if light[row, column] else "white",
                fontsize=9,
                horizontalalignment="center",
                verticalalignment="center",
            )


def _add_bar(figure: Figure, axes: Axes, image: AxesImage, label: str) -> Colorbar:
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, label=label, fraction=0.04)
    bar.outline.set_visible(False)
    return bar
