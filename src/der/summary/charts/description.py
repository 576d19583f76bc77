"""What a figure shows, as plain data: PNG files and the page are drawn from the same.

All texts are plain, never mark-up. Colours are "#RRGGBB". Lengths are points on paper, pixels on a screen.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

Cell = TypeVar("Cell")
Table: TypeAlias = tuple[tuple[Cell, ...], ...]  # rows from top to bottom
Number: TypeAlias = float | None  # None where there is no value
Band: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]  # lower and upper ends
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
    band: Band | None = None  # around the line


@dataclass(frozen=True)
class Panel:
    """Lines that share a vertical axis."""

    axis: Axis
    lines: tuple[Line, ...]
    height: float = 1.0  # beside the other panels'


@dataclass(frozen=True)
class Span:
    """A named stretch of the horizontal axis, parted from the others by lines."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class LineChart:
    """Panels one above the other, with one horizontal axis."""

    name: str  # in file names
    title: str
    axis: Axis
    panels: tuple[Panel, ...]
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Bar:
    """A piece of a row."""

    name: str
    row: int
    start: float
    length: float
    kind: str  # of BarChart.kinds
    hollow: bool = False
    text: str = ""  # what more there is to say of it


@dataclass(frozen=True)
class BarChart:
    """Named rows of pieces along one horizontal axis."""

    name: str
    title: str
    axis: Axis
    rows: tuple[str, ...]  # from top to bottom
    bars: tuple[Bar, ...]
    kinds: dict[str, str]  # and their colours


@dataclass(frozen=True)
class Categories:
    """Named rows or columns."""

    label: str
    names: tuple[str, ...]  # in full
    numbers: tuple[str, ...]  # what stands for a name that cannot be drawn
    edges: tuple[float, ...] = ()  # where lines part them; the first row or column is from -0.5 to 0.5


@dataclass(frozen=True)
class Tone:
    """A colour, and that of the text that can be read on it."""

    colour: str
    text: str


@dataclass(frozen=True)
class Shade:
    """What a cell is filled with, on a light and on a dark page."""

    light: Tone
    dark: Tone


@dataclass(frozen=True)
class MatrixChart:
    """A matrix as coloured cells: ``shades[places[row][column]]``, None for a cell without a value."""

    name: str  # in file names
    title: str
    rows: Categories
    columns: Categories
    places: Table[int | None]
    shades: tuple[Shade, ...]
    texts: Table[str] | None = None  # written into the cells; None where they are too many
    key: tuple[tuple[str, int], ...] = ()  # what shades mean, by examples
