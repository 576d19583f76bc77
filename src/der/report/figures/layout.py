"""What all figures of the page have in common. Colours of texts and lines are left to the page's script."""

from dataclasses import dataclass
from typing import Any

from der.report.figures.text import figure_text

BAR_LENGTH = 200  # pixels
BAR_HEIGHT = 50  # pixels, with its numbers


@dataclass(frozen=True)
class Plot:
    """One figure of the page."""

    name: str  # the id of its element
    content: dict[str, Any]  # plotly's data and layout, ready for JSON
    height: int  # pixels
    min_width: int  # pixels; narrower screens scroll
    note: str = ""  # to stand above it


def base_layout() -> dict[str, Any]:
    """The layout that every figure adds to."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 60, "r": 16, "t": 40, "b": 50},
        "showlegend": True,
    }


def base_axis(title: str, **place: float) -> dict[str, Any]:
    """The form that every axis adds to; ``place`` is of its title."""
    return {"title": {"text": figure_text(title), **place}, "automargin": True, "zeroline": False}


def colour_axis(stops: list[list[Any]], low: float, high: float) -> dict[str, Any]:
    """A colour scale, with a bar above the left end of a figure, where narrow screens show it."""
    bar = {
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "lenmode": "pixels",
        "len": BAR_LENGTH,
        "thickness": 12,
        "outlinewidth": 0,
    }
    return {"colorscale": stops, "cmin": low, "cmax": high, "colorbar": bar}


def rounded(value: float | None) -> float | None:
    """Six significant digits, which no reader misses and a page need not carry."""
    return None if value is None else float(f"{value:.6g}")
