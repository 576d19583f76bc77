"""How every PNG looks, and how it becomes a file that is the same on every run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure

from der.summary.charts.names import one_line, shortened

FONT = "DejaVu Sans"  # comes with matplotlib
LONGEST_NAME = 20  # characters on an axis

STYLE: dict[Any, object] = {
    "font.family": FONT,
    "font.size": 10,
    "text.parse_math": False,  # a class may have a dollar sign in its name
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 12,
    "axes.titlepad": 10,
    "axes.edgecolor": "0.4",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "xtick.color": "0.4",
    "ytick.color": "0.4",
    "xtick.labelcolor": "0.15",
    "ytick.labelcolor": "0.15",
    "legend.frameon": False,
    "savefig.dpi": 150,
}


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of the given inches; the block fills it, then it is saved as PNG.

    The user's matplotlibrc is left out, and no global state is left changed.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), layout="compressed")
        yield figure
        figure.savefig(path, format="png", metadata={"Software": None})


def axis_names(names: Sequence[str]) -> list[str]:
    """Names as an axis can show them: shortened in the middle, and only with known letters.

    A name with a letter the font lacks is replaced by its place ("label 7").
    """
    glyphs = font_manager.get_font(font_manager.findfont(FONT)).get_charmap()
    shown = []
    for label, name in enumerate(names):
        text = one_line(name)
        known = text and all(ord(letter) in glyphs for letter in text)
        shown.append(shortened(text, LONGEST_NAME) if known else f"label {label}")
    return shown
