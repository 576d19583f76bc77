"""Colours that everyone can tell apart, on white and on black."""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from der.summary.charts import confusion, forgetting
from der.summary.charts.blending import blend
from der.summary.charts.colours import ACCURACIES, PUBLISHED, STEPS, step_colours
from der.summary.charts.description import ColourScale
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


STYLE = (ROOT / "src/der/report/page.css").read_text(encoding="utf-8")
PAGES = re.findall(r"--page: (#\w+);", STYLE)[:2]  # light, dark
TEXTS = re.findall(r"--text: (#\w+);", STYLE)[:2]


def test_lines_stand_out_from_light_and_dark_pages() -> None:
    for colour in (*ACCURACIES.values(), *PUBLISHED, *step_colours(50)):
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


@pytest.mark.parametrize("scale", [confusion.SCALE, forgetting.SCALE], ids=["confusion", "accuracy"])
def test_numbers_can_be_read_in_every_cell(scale: ColourScale) -> None:
    for tones in (scale.light, scale.dark):
        shades = [blend(tones.colours, number / 100) for number in range(101)]
        assert min(contrast(tones.text, shade) for shade in shades) >= 4.5


def test_the_tones_of_confusions_are_those_of_the_page() -> None:
    assert [confusion.SCALE.light.colours[0], confusion.SCALE.light.text] == [
        PAGES[0].upper(),
        TEXTS[0].upper(),
    ]
    assert confusion.SCALE.dark.text == TEXTS[1].upper()


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


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_steps_go_from_the_first_colour_towards_the_last(steps: int) -> None:
    colours = step_colours(steps)
    assert len(colours) == len(set(colours)) == steps
    assert colours[0] == STEPS[0] and (steps == 1 or colours[-1] == STEPS[-1])
