"""Names on the axes of PNG files."""

from der.summary.charts.description import Categories
from der.summary.drawing.canvas import axis_names


def test_axis_names_are_short_and_drawable() -> None:
    names = (
        "cat",
        "x" * 28,
        "a name of more than twenty-eight letters",
        "猫",
        "two\nlines",
        "Cafe\u0301",
        "$x$",
    )
    numbers = tuple(f"label {label}" for label in range(len(names)))
    assert axis_names(Categories("class", names, numbers)) == [
        "cat",
        "x" * 28,
        "a name of more…eight letters",
        "label 3",
        "two lines",
        "Caf\u00e9",
        "$x$",
    ]
