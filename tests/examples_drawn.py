"""How many examples of a property are drawn."""

from hypothesis import settings

USUAL = 25  # a test; --torture draws as many as it says


def examples(count: int) -> int:
    """``count``, for a property that takes other times than most; with --torture as many as that says."""
    asked = settings().max_examples
    return asked if asked > USUAL else count
