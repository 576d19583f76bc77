"""Makes the matrices of accuracy and of confusion, as coloured cells for a PNG file and for the page.

# K classes, T steps
"""

import base64
import io
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from der.evaluation.results import StepMetrics
from der.summary.series import accuracy_matrix, show_number, show_share

Places = NDArray[np.int64]  # of each cell's shade; EMPTY: none
Numbers = float | NDArray[np.float64]

EMPTY = -1
GRADES = 16  # of a scale of shades
EXAMPLES = (1, 5, 20, 50, 100)  # percent, in the key
LEAST_SCALE = 20.0  # points to the end of the scale, where no more were lost or gained
MOST_WRITTEN = 20  # rows of a matrix whose cells hold numbers, and whose names all have room
MOST_CELLS = 4_000_000  # of all steps' matrices in a page; of more some steps are left out
LONGEST = 16  # characters of a name beside a matrix
COHORT = 10  # characters of a name, and of the names of all classes of a step
NARROW = 30  # characters that a row of cells has room for on a narrow screen
ROOM = {"rare": 36, "scarce": 15}  # names beside a matrix on wide screens and paper, and on narrow screens


class Shade(NamedTuple):
    """The fill of a cell on a light and a dark page, and the colours of its text."""

    light: str
    dark: str
    light_text: str
    dark_text: str


def contrast(*colours: str) -> float:
    """Compute WCAG 2's contrast of two colours, from 1 to 21."""
    shares = np.array([list(bytes.fromhex(colour[1:])) for colour in colours]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return float((high + 0.05) / (low + 0.05))


def grades(light: Sequence[str], dark: Sequence[str]) -> list[Shade]:
    """Make a scale through evenly spaced colours, with black or white text."""
    scales = []
    for colours in (light, dark):
        channels = np.array([list(bytes.fromhex(colour[1:])) for colour in colours]).T
        places = np.linspace(0, len(colours) - 1, GRADES)
        mixed = np.array([np.interp(places, range(len(colours)), one) for one in channels]).round()
        scales.append([f"#{bytes(one).hex().upper()}" for one in mixed.astype(np.uint8).T.tolist()])
    texts = [[max("#000000", "#FFFFFF", key=partial(contrast, one)) for one in scale] for scale in scales]
    return list(map(Shade, *scales, *texts))


# Of confusion: an error can be told from an empty cell, which is the page, at a contrast of 3 : 1 or more.
WRONG = grades(("#C4500A", "#8E1B0E", "#3F0A12"), ("#C95A14", "#F08A45", "#FFE0C8"))
RIGHT = grades(("#DCE8F4", "#86AFD9"), ("#1D2F42", "#2F6299"))
# Of what was lost since a class was new, and gained.
LOST = grades(("#EDF0F3", "#F2B48F", "#C4500A", "#5E0F10"), ("#272D34", "#7A3F1A", "#E0732A", "#FFD9BC"))
GAINED = grades(("#EDF0F3", "#8FB9E3", "#1F5F9E", "#0A2A4D"), ("#272D34", "#22507F", "#5FA3E6", "#D2E7FF"))
CONFUSION, LOSSES = [*WRONG, *RIGHT], [*reversed(GAINED[1:]), *LOST]


@dataclass(frozen=True)
class Matrix:
    """A square matrix: ``shades[places[row, column]]``, no colour where that is EMPTY."""

    name: str  # in file names and ids
    title: str
    rows: str  # what they are
    columns: str
    names: list[str]  # of rows and columns, in full
    numbers: list[str]  # what stands for a name that cannot be drawn
    places: Places
    shades: list[Shade]
    key: list[tuple[str, int]]  # what shades mean, by examples
    texts: list[list[str]] | None = None  # written into the cells; None where they are too many
    edges: list[int] = field(default_factory=list)  # rows before which a line parts them
    longest: int = 99  # characters of a name in the page
    data: dict[str, Any] = field(default_factory=dict)  # for the page's script

    @property
    def cells(self) -> list[tuple[int, int, Shade, str]]:
        written = self.texts or []
        return [
            (row, column, self.shades[self.places[row, column]], written[row][column] if written else "")
            for row, column in np.argwhere(self.places != EMPTY).tolist()
        ]

    @property
    def short_names(self) -> list[str]:
        return [shortened(one_line(name), self.longest) for name in self.names]

    @property
    def widest(self) -> list[str]:
        """List the names that may be the widest in the reader's font."""
        return sorted(dict.fromkeys(self.short_names), key=lambda name: -len(name.encode()))[:20]

    @property
    def large(self) -> bool:
        """Tell whether there are too many rows to show their names without zoom."""
        return len(self.names) > MOST_WRITTEN

    @property
    def classes(self) -> str:
        longest = max((len(text) for row in self.texts or [] for text in row), default=0)
        known = {
            "dense": longest * len(self.names) > NARROW,  # no room for numbers on narrow screens
            "many": len(self.edges) >= MOST_WRITTEN,  # lines that part steps
            "upright": not self.large and max(map(len, self.short_names)) <= 2,
        }
        return " ".join(name for name, has in known.items() if has)

    def spared(self, place: int) -> str:
        """List the screens that show the name at ``place`` only with zoom, for they have not room for all."""
        return " ".join(kind for kind, room in ROOM.items() if place % -(-len(self.names) // room))

    @property
    def pictures(self) -> dict[str, str]:
        """Draw the cells as PNG files in data: URIs, one pixel each, for a light and a dark page."""
        places = np.where(self.places == EMPTY, len(self.shades), self.places)
        found = {}
        for scheme in ("light", "dark"):
            colours = [getattr(shade, scheme) for shade in self.shades]
            image, stream = Image.fromarray(places.astype(np.uint8), mode="P"), io.BytesIO()
            image.putpalette(b"".join(bytes.fromhex(colour[1:]) for colour in colours) + bytes(3))
            image.save(stream, format="png", transparency=len(colours), optimize=True)
            found[scheme] = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
        return found


def forgetting_chart(steps: list[StepMetrics], names: Sequence[str], images: Sequence[int] = ()) -> Matrix:
    """Show the accuracy after each step (row) on each step's classes (column), shaded by the loss since."""
    accuracy_TT = accuracy_matrix(steps)
    accuracy = [row[: after + 1] for after, row in enumerate(accuracy_TT.tolist())]
    lost_TT = np.diag(accuracy_TT) - accuracy_TT
    scale = max(LEAST_SCALE, 10 * math.ceil(np.nanmax(abs(lost_TT)) / 10))
    ends = [step["classes"] for step in steps]
    labels = [f"{step}: {one}" for step, one in enumerate(name_cohorts(names, ends), start=1)]
    texts = [[show_number(one, 1) for one in row] + [""] * (len(steps) - len(row)) for row in accuracy]
    key = {f"{scale / 2:g} gained": -scale / 2, "as when new": 0.0}
    key |= {f"{points:g} lost": points for points in (scale / 4, scale / 2, scale)}
    return Matrix(
        name="accuracy_matrix",
        title="Accuracy on each step's classes, shaded by the loss since they were new",
        rows="after step",
        columns="on the classes of step",
        names=labels,
        numbers=[str(step["step"]) for step in steps],
        places=np.where(np.isnan(lost_TT), EMPTY, grade_lost(np.nan_to_num(lost_TT), scale)),
        shades=LOSSES,
        key=[(text, int(grade_lost(points, scale))) for text, points in key.items()],
        texts=texts if len(steps) <= MOST_WRITTEN else None,
        data={
            "names": labels,
            "accuracy": accuracy,
            "images": [sum(images[start:end]) for start, end in pairwise([0, *ends])],
        },
    )


def grade_lost(points: Numbers, scale: float) -> Places:
    graded = np.rint(np.clip(np.divide(points, scale), -1, 1) * (GRADES - 1))
    return np.asarray(GRADES - 1 + graded, np.int64)


def name_cohorts(names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Name the classes of each step: all of them, or the first and the last."""
    short = [shortened(one_line(name), COHORT) for name in names]
    cohorts = [short[start:end] for start, end in pairwise([0, *sizes])]
    listed = [", ".join(cohort) for cohort in cohorts]
    pairs = zip(listed, cohorts, strict=True)
    return [text if len(text) <= COHORT else f"{cohort[0]} … {cohort[-1]}" for text, cohort in pairs]


def confusion_chart(counts_KK: Places, names: Sequence[str], sizes: Sequence[int], step: int) -> Matrix:
    """Show the confusion matrix after a step, with rows in percent of the true class's images.

    ``names`` has all classes, of which the step may have seen only the first ones. ``sizes`` has the number
    of classes seen after every step.
    """
    seen, images_K = len(counts_KK), counts_KK.sum(axis=1)
    grades_KK = grade_share(counts_KK / np.maximum(images_K, 1)[:, None])
    np.fill_diagonal(grades_KK, grades_KK.diagonal() + GRADES)
    places = np.full((len(names), len(names)), EMPTY)
    places[:seen, :seen] = np.where(counts_KK == 0, EMPTY, grades_KK)
    rows = zip(counts_KK.tolist(), images_K.tolist(), strict=True) if seen <= MOST_WRITTEN else ()
    texts = [
        ["" if not n else "<1" if 200 * n < images else show_share(n, images) for n in row]
        for row, images in rows
    ]
    return Matrix(
        name="confusion",
        title=f"Confusion after step {step}, percent of the true class",
        rows="true class",
        columns="predicted class",
        names=list(names),
        numbers=[f"label {label}" for label in range(len(names))],
        places=places,
        shades=CONFUSION,
        key=[
            *((f"wrong {share} %", int(grade_share(share / 100))) for share in EXAMPLES[:-1]),
            *((f"right {share} %", GRADES + int(grade_share(share / 100))) for share in EXAMPLES[-2:]),
        ],
        texts=texts or None,
        edges=list(sizes[:-1]),
        longest=LONGEST,
    )


def grade_share(share: Numbers) -> Places:
    """Find the place in GRADES by the square root, because most confusions are rare."""
    return np.asarray(np.minimum(GRADES * np.sqrt(share), GRADES - 1), np.int64)


def kept_steps(classes: int, steps: int) -> list[int]:
    """Choose the steps whose matrices a page shows: all, or the last and evenly spaced earlier ones."""
    every = -(-steps // max(MOST_CELLS // classes**2, 1))
    return list(range(steps, 0, -every))[::-1]


def sparse(counts_KK: Places) -> list[int]:
    """Encode the nonzero cells row by row: the distance from the one before, and the count."""
    places = np.flatnonzero(counts_KK)
    pairs = np.stack([np.diff(places, prepend=0), counts_KK.ravel()[places]], axis=1)
    return list(pairs.ravel().tolist())


def one_line(name: str) -> str:
    """Return ``name`` with single spaces, and with each accent composed with its letter."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def shortened(text: str, longest: int) -> str:
    """Return ``text``, or its first and last letters if it is longer than ``longest``."""
    head = longest // 2
    return text if len(text) <= longest else f"{text[:head]}…{text[head + 1 - longest :]}"
