"""Matrices as figures of the page: a picture of one pixel per cell, on a light and on a dark page.

# R rows and C columns of cells, r and c of pixels
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from der.summary.charts.description import MatrixChart, Shade, Tone

LARGEST = 500  # pixels of a side: a screen leaves out what lies closer than its own


@dataclass(frozen=True)
class Cells:
    """The picture of a matrix, as data: URIs."""

    light: str
    dark: str


@dataclass(frozen=True)
class Number:
    """What is written into a cell, and how that of a light and of a dark page is coloured."""

    row: int
    column: int
    text: str
    light: str
    dark: str


@dataclass(frozen=True)
class Key:
    """What a colour means, by an example."""

    text: str
    light: str
    dark: str


def cells(chart: MatrixChart) -> Cells:
    """The picture of a matrix; cells without a value are transparent.

    Of more than LARGEST rows or columns neighbours share a pixel, which shows the darkest of them.
    """
    empty = len(chart.shades)
    places = [[empty if place is None else place for place in row] for row in chart.places]
    pixels = _fit(np.array(places, np.uint8), chart.shades)
    return Cells(
        _png(pixels, [shade.light for shade in chart.shades]),
        _png(pixels, [shade.dark for shade in chart.shades]),
    )


def _fit(places_RC: NDArray[np.uint8], shades: Sequence[Shade]) -> NDArray[np.uint8]:
    """The shades of as many pixels as are shown."""
    if max(places_RC.shape) <= LARGEST:
        return places_RC
    light = [sum(bytes.fromhex(shade.light.colour[1:])) for shade in shades]
    order = np.array([len(shades), *sorted(range(len(shades)), key=lambda one: -light[one])], np.uint8)
    rows, columns = (np.arange(size) * min(size, LARGEST) // size for size in places_RC.shape)
    darkness_rc = np.zeros((rows[-1] + 1, columns[-1] + 1), np.intp)
    np.maximum.at(darkness_rc, (rows[:, None], columns), np.argsort(order)[places_RC])
    return order[darkness_rc]


def _png(pixels: NDArray[np.uint8], tones: list[Tone]) -> str:
    image = Image.fromarray(pixels, mode="P")
    image.putpalette(b"".join(bytes.fromhex(tone.colour[1:]) for tone in tones) + bytes(3))
    stream = io.BytesIO()
    image.save(stream, format="png", transparency=len(tones), optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def numbers(chart: MatrixChart) -> list[Number]:
    """The texts of all cells that have one."""
    found = []
    for row, texts in enumerate(chart.texts or ()):
        for column, text in enumerate(texts):
            place = chart.places[row][column]
            if text and place is not None:
                shade = chart.shades[place]
                found.append(Number(row, column, text, shade.light.text, shade.dark.text))
    return found


def key(chart: MatrixChart) -> list[Key]:
    """The key of the colours."""
    shades = [(text, chart.shades[place]) for text, place in chart.key]
    return [Key(text, shade.light.colour, shade.dark.colour) for text, shade in shades]
