"""How many exemplars a class gets."""

import pytest

from der.memory.budget import exemplars_per_class
from tests.builders import memory_settings


@pytest.mark.parametrize(
    ("allocation", "classes", "expected"),
    [("total", 25, 80), ("total", 75, 26), ("total", 2001, 0), ("per_class", 75, 2000)],
)
def test_exemplars_per_class(allocation: str, classes: int, expected: int) -> None:
    settings = memory_settings(budget=2000, allocation=allocation)
    assert exemplars_per_class(settings, classes) == expected
