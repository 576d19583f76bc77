"""How many examples of a property are drawn."""

from hypothesis import settings

USUAL = 100  # hypothesis's


def examples(count: int) -> int:
    """``count``, for a property that takes other times than most; with --torture as many as that says."""
    asked = settings().max_examples
    return asked if asked > USUAL else count
