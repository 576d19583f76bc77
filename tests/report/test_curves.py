"""A class's accuracy over steps, drawn small."""

import re
from itertools import pairwise

from der.report.curves import APART, HEIGHT, MOST_POINTS, WIDTH, class_curve
from der.summary.uncertainty import wilson


def points(svg: str, tag: str) -> list[list[float]]:
    found = re.search(rf'<{tag} points="([^"]*)"', svg)
    return [[float(one) for one in pair.split(",")] for pair in found[1].split()] if found else []


def test_a_single_step_has_an_error_bar() -> None:
    svg = class_curve([80.0], 20, 4, 4)
    assert not points(svg, "polygon")
    (bar,) = re.findall(r'<path d="M(\d+) ([\d.]+)V([\d.]+)M', svg)
    level = {text: float(y) for y, text in re.findall(r'y="(\d+)" text-anchor="end">(\d+)<', svg)}
    pixels = (level["0"] - level["100"]) / 100
    low, high = wilson(80, 20)
    assert abs((float(bar[1]) - float(bar[2])) / pixels - (high - low)) < 0.5


def test_several_steps_have_a_band() -> None:
    svg = class_curve([80.0, 70.0, 60.0], 20, 2, 4)
    line = points(svg, "polyline")
    assert len(line) == 3 and len(points(svg, "polygon")) == 6
    assert line[0][1] < line[1][1] < line[2][1] and "from step 2 on: 80.0, 70.0, 60.0" in svg


def test_of_many_steps_some_are_drawn_the_last_among_them() -> None:
    svg = class_curve([float(step % 90) for step in range(120)], 20, 1, 120)
    line = points(svg, "polyline")
    assert 30 < len(line) <= MOST_POINTS and len(svg) < 3000
    assert line[-1][0] == max(x for x, _ in line) and "one step of 3: " in svg
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line)


def test_names_of_steps_do_not_lie_on_each_other() -> None:
    for first, last in ((1, 4), (3, 4), (29, 30), (99, 100), (1, 1), (2, 2)):
        places = [
            float(x) for x in re.findall(r'<text x="(\d+)" [^>]*>step', class_curve([50.0], 20, first, last))
        ]
        assert 1 <= len(places) <= 2 and all(b - a >= APART - 1 for a, b in pairwise(places))
