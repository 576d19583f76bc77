"""Colours that everyone can tell apart, on white and on black."""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from der.summary.charts import confusion, forgetting
from der.summary.charts.blending import blend, shade
from der.summary.charts.blending import contrast as own_contrast
from der.summary.charts.colours import (
    ACCURACIES,
    GRID,
    INK,
    JOINT,
    KINDS,
    MUTED,
    PAGE,
    PHASES,
    PUBLISHED,
    RIGHT,
    RUNS,
    WRONG,
)
from der.summary.charts.description import Shade
from tests.locations import ROOT


def luminance(colour: Sequence[float]) -> float:
    """WCAG 2's relative luminance of red, green and blue in [0, 1]."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast of two colours, "#RRGGBB"."""
    low, high = sorted(luminance(numbers(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def numbers(colour: str) -> list[float]:
    return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]


STYLE = (ROOT / "src/der/report/page/base.css").read_text(encoding="utf-8")


def in_style(name: str) -> list[str]:
    """A colour of the page, light and dark."""
    return re.findall(rf"--{name}: (#\w+);", STYLE)[:2]


PAGES = in_style("page")


def test_lines_stand_out_from_light_and_dark_pages() -> None:
    for colour in (*ACCURACIES.values(), *PUBLISHED, *PHASES, *KINDS.values(), *RUNS, JOINT):
        assert min(contrast(colour, page) for page in PAGES) >= 3, colour


# Machado et al. 2009, full deficiency: how people who lack a kind of cone see linear RGB.
SIGHTS = {
    "all": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_colour_blind_tell_the_accuracies_apart(sight: str) -> None:
    def lab(colour: str) -> np.ndarray:
        rgb = np.array(numbers(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen = np.clip(SIGHTS[sight] @ linear, 0, 1)
        x, y, z = np.cbrt(XYZ @ seen / np.array([0.9505, 1, 1.089]))
        return np.array([116 * y, 500 * (x - y), 200 * (y - z)])

    for one, other in combinations(ACCURACIES.values(), 2):
        assert np.linalg.norm(lab(one) - lab(other)) > 15, (one, other)  # CIE76; about 2 can be told apart


@pytest.mark.parametrize("shades", [confusion.SHADES, forgetting.SHADES], ids=["confusion", "forgetting"])
def test_numbers_can_be_read_in_every_cell(shades: Sequence[Shade]) -> None:
    for one in shades:
        for tone in (one.light, one.dark):
            assert contrast(tone.text, tone.colour) >= 4.5


def test_an_error_can_be_told_from_an_empty_cell() -> None:
    for light, dark in ((one.light.colour, one.dark.colour) for one in WRONG):
        assert contrast(light, PAGES[0]) >= 3 and contrast(dark, PAGES[1]) >= 3


def test_more_is_further_from_the_page() -> None:
    for scale in (WRONG, RIGHT):
        for page, colours in zip(
            PAGES, zip(*((one.light.colour, one.dark.colour) for one in scale), strict=True), strict=True
        ):
            contrasts = [contrast(colour, page) for colour in colours]
            assert contrasts == sorted(contrasts)


def test_figures_have_the_colours_of_a_light_page_which_the_style_turns_dark() -> None:
    names = {"text": INK, "muted": MUTED, "line": GRID, "page": PAGE}
    for name, colour in names.items():
        assert in_style(name)[0].upper() == colour
    for page, text, muted in zip(PAGES, in_style("text"), in_style("muted"), strict=True):
        assert min(contrast(page, text), contrast(page, muted)) >= 4.5


def test_contrast_is_that_of_the_standard() -> None:
    assert own_contrast("#FFFFFF", "#000000") == pytest.approx(21)
    for one in ("#C4500A", "#1A1D21"):
        assert own_contrast(one, "#FFFFFF") == pytest.approx(contrast(one, "#FFFFFF"))
    assert shade("#FFFFFF", "#000000").light.text == "#000000"


def test_blend_by_hand() -> None:
    colours = ("#000000", "#FF0000", "#FF00FF")
    shares = (0, 0.25, 0.5, 0.75, 1)
    assert [blend(colours, share) for share in shares] == [
        "#000000",
        "#800000",
        "#FF0000",
        "#FF0080",
        "#FF00FF",
    ]
