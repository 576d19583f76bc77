"""The two matrices of the page, with what its script needs to say what lies under the pointer.

# K classes seen after the last step, T steps
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from unicodedata import east_asian_width

import numpy as np
from numpy.typing import NDArray

from der.report.figures.cells import LARGEST, Cells, Key, Number, cells, key, numbers
from der.report.finished_run import FinishedRun
from der.report.thumbnails import COLUMNS, Album
from der.summary.charts.confusion import SHADES, confusion_chart
from der.summary.charts.description import Categories, Shade
from der.summary.charts.forgetting import accuracy_matrix_chart
from der.summary.charts.limits import MOST_WRITTEN
from der.summary.charts.names import every_so_many, one_line, shortened

MOST_CELLS = 4_000_000  # of all steps' matrices together; of more some steps are left out
LONGEST = 16  # characters of a class's name beside a matrix
NARROW = 30  # characters that a row of cells has room for on a narrow screen
MOST_NAMED = 20  # rows that all have their names before one has zoomed
ROOM = {"rare": 36, "scarce": 15}  # names beside a matrix on wide screens and paper, and on narrow screens
SHORT = 2  # characters of names that need not be turned
CANDIDATES = 5
# East Asian forms, of a small letter's width; ambiguous ones are narrow or wide.
WIDE = {"W": 2, "F": 2, "A": 1.2}
CAPITAL = 1.4
DIGIT = 0.025  # of a side of a matrix, for each digit of a step's number


@dataclass(frozen=True)
class Matrix:
    """A matrix, its cells one picture, names and lines around it HTML."""

    name: str
    rows: Categories
    columns: Categories
    row_names: list[str]  # short
    column_names: list[str]
    cells: Cells
    numbers: list[Number]
    key: list[Key]
    data: dict[str, Any]

    @property
    def large(self) -> bool:
        """Whether there are more rows than have room for their names, until one has zoomed."""
        return len(self.row_names) > MOST_NAMED

    @property
    def upright(self) -> bool:
        """Whether the columns' names are short enough to be read without turning one's head."""
        return not self.large and max(map(len, self.column_names)) <= SHORT

    @property
    def shared(self) -> bool:
        """Whether neighbouring cells share a pixel."""
        return len(self.row_names) > LARGEST

    @property
    def parted(self) -> bool:
        """Whether the steps are named in place of their classes, until one has zoomed."""
        return self.large and bool(self.rows.edges)

    @property
    def many(self) -> bool:
        """Whether names need small letters, and lines between steps have to be pale."""
        return max(len(self.parts), len(self.row_names) if not self.rows.edges else 0) > MOST_NAMED

    def widest(self, names: Sequence[str]) -> list[str]:
        """Those among ``names`` of which one needs the most room in whatever letters a reader has."""
        return sorted(dict.fromkeys(names), key=width, reverse=True)[:CANDIDATES]

    def spared(self, place: int) -> dict[str, str]:
        """The attribute of a name that has no room until one has zoomed, on all screens or on narrow ones."""
        every = {screen: every_so_many(len(self.row_names), room) for screen, room in ROOM.items()}
        without = [screen for screen in every if place % every[screen]]
        return {"class": " ".join(without)} if without and not self.parted else {}

    @property
    def named_parts(self) -> list[tuple[int, float, float]]:
        """The numbers of steps that have room beside the matrix, and where their classes are."""
        smallest = min(size for _, size in self.parts) / len(self.row_names)
        room = smallest * len(self.parts) / (DIGIT * max(len(str(len(self.parts))), 2))
        every = every_so_many(len(self.parts), room)
        return [(step, *part) for step, part in enumerate(self.parts, start=1) if step % every == 0]

    @property
    def dense(self) -> bool:
        """Whether narrow screens have no room for the numbers in the cells."""
        longest = max((len(one.text) for one in self.numbers), default=0)
        return longest * len(self.row_names) > NARROW

    @property
    def parts(self) -> list[tuple[float, float]]:
        """Where the steps' classes begin and how many there are, in rows."""
        ends = [0.0, *(edge + 0.5 for edge in self.rows.edges), float(len(self.row_names))]
        return [(start, end - start) for start, end in pairwise(ends)]


def forgetting_matrix(run: FinishedRun) -> Matrix:
    """Accuracy after each step on each step's classes, shaded by what was lost since."""
    chart = accuracy_matrix_chart(run.steps, run.names)
    ends = [step["classes"] for step in run.steps]
    images = [int(run.images[start:end].sum()) for start, end in zip([0, *ends], ends, strict=False)]
    accuracy = [list(step["per_step"].values()) for step in run.steps]
    data = {"kind": "forgetting", "names": chart.rows.names, "accuracy": accuracy, "images": images}
    return Matrix(
        chart.name,
        chart.rows,
        chart.columns,
        list(chart.rows.names),
        list(chart.columns.names),
        cells(chart),
        numbers(chart),
        key(chart),
        data,
    )


def confusion_matrix(run: FinishedRun, album: Album) -> Matrix:
    """The confusion after the last step; in the data, after all steps, with the pictures of mistakes."""
    sizes = [step["classes"] for step in run.steps]
    kept = kept_steps(len(run.names), len(sizes))
    charts = {step: confusion_chart(run.confusions[step - 1], run.names, sizes, step) for step in kept}
    last = charts[len(sizes)]
    data = {
        "kind": "confusion",
        "names": run.names,
        "images": run.images.tolist(),
        "sizes": sizes,
        "steps": [
            {
                "step": step,
                "counts": sparse(run.confusions[step - 1]),
                **vars(cells(chart)),
                "shots": shots(album, step),
            }
            for step, chart in charts.items()
        ],
        "sheets": [[sheet.side, sheet.pitch, sheet.width, sheet.height] for sheet in album.sheets],
        "columns": COLUMNS,
        "texts": _texts(SHADES) if len(run.names) <= MOST_WRITTEN else None,
    }
    return Matrix(
        "confusion",
        last.rows,
        last.columns,
        shorten(run.names, LONGEST),
        shorten(run.names, LONGEST),
        cells(last),
        numbers(last),
        key(last),
        data,
    )


def kept_steps(classes: int, steps: int) -> list[int]:
    """The steps whose matrices a page can carry: all, or the last and some evenly before it."""
    affordable = max(MOST_CELLS // classes**2, 1)
    every = -(-steps // affordable)
    return list(range(steps, 0, -every))[::-1]


def sparse(counts: NDArray[np.int64]) -> list[int]:
    """The cells that are not zero, row by row: how far each is from the one before, and its count."""
    flat = counts.ravel()
    places = np.flatnonzero(flat)
    distances = np.diff(places, prepend=0)
    return [int(number) for pair in zip(distances, flat[places], strict=True) for number in pair]


def shots(album: Album, step: int) -> dict[int, list[int]]:
    """By true label: of each picture its place in the sheet, the label that it was taken for, and percent."""
    return {
        label: [
            number for one in found for number in (one.place, one.predicted, round(100 * one.probability))
        ]
        for label, found in enumerate(album.shots[step - 1])
        if found
    }


def shorten(names: Sequence[str], longest: int) -> list[str]:
    """Names as there is room for beside a matrix."""
    return [shortened(one_line(name), longest) for name in names]


def width(name: str) -> float:
    """About how wide a name is, in small letters."""
    return sum(WIDE.get(east_asian_width(one), CAPITAL if one.isupper() else 1) for one in name)


def _texts(shades: Sequence[Shade]) -> list[list[str]]:
    """The colours of what is written on each shade."""
    return [[shade.light.text, shade.dark.text] for shade in shades]
