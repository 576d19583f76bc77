"""Values in a line of text."""

import pytest

from der.pipeline.params import shorten

STEPS = [[f"name {step}-{label}" for label in range(25)] for step in range(5)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (["a", "b, c", "d", "e"], "[a, 'b, c', d, e]"),
        ([f"class, {label}" for label in range(100)], "['class, 0', 'class, 1', 'class, 2', ... 100 in all]"),
        ([["a", "b"]] * 20, "[[a, b], [a, b], [a, b], ... 20 in all]"),
        (
            STEPS[:2],
            "[[name 0-0, name 0-1, name 0-2, ... 25 in all], [name 1-0, name 1-1, name 1-2, ... 25 in all]]",
        ),
    ],
)
def test_long_lists_are_cut_at_every_depth(value: object, text: str) -> None:
    assert shorten(value) == text


def test_a_protocol_of_many_classes_a_step_stays_short() -> None:
    assert shorten(STEPS).count("name") == 9 and shorten(STEPS).endswith("... 25 in all], ... 5 in all]")
