"""Names on the axes of PNG files."""

from der.summary.drawing.canvas import axis_names


def test_axis_names_are_short_and_drawable() -> None:
    names = ["cat", "x" * 20, "a name of more than twenty letters", "猫", "two\nlines", "Cafe\u0301", "$x$"]
    assert axis_names(names) == [
        "cat",
        "x" * 20,
        "a name of …y letters",
        "label 3",
        "two lines",
        "Caf\u00e9",
        "$x$",
    ]
