"""How every drawing looks, and how it becomes a file or a text that is the same on every run."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from der.summary.charts.colours import GRID, INK, MUTED
from der.summary.charts.description import Categories
from der.summary.charts.names import one_line, shortened

FONT = "DejaVu Sans"  # comes with matplotlib
LONGEST_NAME = 28  # characters on an axis, which has room for those of a step of a thousand
POINTS = 72  # to the inch; a point of an SVG drawing is a pixel of the page
FONT_SIZE = 12  # pixels, in the page

STYLE: dict[Any, object] = {
    "font.family": FONT,
    "font.size": 10,
    "text.parse_math": False,  # a class may have a dollar sign in its name
    "text.color": INK,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 12,
    "axes.titlepad": 10,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "savefig.dpi": 150,
}
SVG_STYLE: dict[Any, object] = {
    "font.size": FONT_SIZE,
    "axes.spines.left": False,
    "axes.edgecolor": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "savefig.dpi": POINTS,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "der",
}


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of the given inches; the block fills it, then it is saved as PNG.

    The user's matplotlibrc is left out, and no global state is left changed.
    """
    with _styled(STYLE):
        figure = Figure(figsize=(width, height), layout="compressed")
        yield figure
        figure.savefig(path, format="png", metadata={"Software": None})


class Canvas:
    """A figure of so many pixels that becomes SVG; ``text`` is set when the block of ``svg_drawing`` ends."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / POINTS, height / POINTS))
        self.text = ""

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at pixels from the top left corner."""
        bottom = self.height - top - height
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place)

    def pixels(self, axes: Axes, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Where values of ``axes`` lie, from the top left corner."""
        placed = axes.transData.transform(points) * POINTS / self.figure.dpi
        return [(round(float(x), 1), round(self.height - float(y), 1)) for x, y in placed]


@contextmanager
def svg_drawing(width: int, height: int) -> Iterator[Canvas]:
    """Yield an empty canvas; the block fills it, then it is SVG as matplotlib writes it."""
    with _styled(STYLE | SVG_STYLE):
        canvas = Canvas(width, height)
        yield canvas
        stream = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas.figure.savefig(stream, format="svg", metadata=nothing)
        canvas.text = stream.getvalue()


@contextmanager
def _styled(style: dict[Any, object]) -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield


def axis_names(categories: Categories) -> list[str]:
    """Names as an axis can show them: shortened in the middle, and only with known letters.

    A name with a letter the font lacks is replaced by what stands in for it.
    """
    glyphs = font_manager.get_font(font_manager.findfont(FONT)).get_charmap()
    shown = []
    for name, number in zip(categories.names, categories.numbers, strict=True):
        text = one_line(name)
        known = text and all(ord(letter) in glyphs for letter in text)
        shown.append(shortened(text, LONGEST_NAME) if known else number)
    return shown
