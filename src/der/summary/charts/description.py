"""What a figure shows, as plain data that any renderer can draw.

All texts are plain, never mark-up. Colours are "#RRGGBB". Lengths are points on paper, pixels on a screen.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

Cell = TypeVar("Cell")
Table: TypeAlias = tuple[tuple[Cell, ...], ...]  # rows from top to bottom
Number: TypeAlias = float | None  # None where there is no value
Shape = Literal["circle", "square", "diamond", "triangle-up", "triangle-down", "cross"]


@dataclass(frozen=True)
class Axis:
    """An axis of numbers."""

    label: str
    unit: str = ""
    whole: bool = False  # no numbers but whole ones
    logarithmic: bool = False
    low: Number = None  # an end; None: as the lines need
    high: Number = None
    ticks: tuple[float, ...] | None = None  # None: as the room allows

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True)
class Marker:
    """What stands at every point of a line."""

    shape: Shape
    size: float
    filled: bool = False


@dataclass(frozen=True)
class Line:
    """One line, broken where there is no value."""

    name: str
    x: tuple[float, ...]
    y: tuple[Number, ...]
    colour: str
    width: float = 1.5
    dashes: tuple[float, ...] = ()  # lengths of dash, gap, dash, ... in line widths; (): solid
    marker: Marker | None = None
    in_legend: bool = True
    group: int | None = None  # lines of one group can be looked at without the others


@dataclass(frozen=True)
class Panel:
    """Lines that share a vertical axis."""

    axis: Axis
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class ColourKey:
    """In place of a legend of too many entries: the colours of steps 1, 2, ..."""

    label: str
    colours: tuple[str, ...]


@dataclass(frozen=True)
class LineChart:
    """Panels one above the other, with one horizontal axis."""

    name: str  # in file names
    title: str
    axis: Axis
    panels: tuple[Panel, ...]
    note: str = ""  # what a legend cannot say
    key: ColourKey | None = None


@dataclass(frozen=True)
class Categories:
    """Named rows or columns."""

    label: str
    names: tuple[str, ...]  # in full
    edges: tuple[float, ...] = ()  # where lines part them; the first row or column is from -0.5 to 0.5


@dataclass(frozen=True)
class Tones:
    """The evenly spaced colours of a scale, and one that can be read on all of them."""

    colours: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class ColourScale:
    """What the colours of a matrix mean, on a light and on a dark page."""

    label: str
    unit: str
    low: float
    high: float
    ticks: tuple[float, ...]
    light: Tones
    dark: Tones
    exponent: float = 1.0  # of a value's share of the scale; below 1 it spreads the low end

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})"


@dataclass(frozen=True)
class Counts:
    """How many things stand behind each cell."""

    numbers: Table[int]
    singular: str
    plural: str


@dataclass(frozen=True)
class MatrixChart:
    """A matrix as coloured cells."""

    name: str  # in file names
    title: str
    rows: Categories
    columns: Categories
    values: Table[Number]
    scale: ColourScale
    texts: Table[str] | None = None  # written into the cells; None where they are too many
    counts: Counts | None = None
