"""Numbers as text: halves are rounded up, and no binary fraction comes between."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from der.summary.rounding import show_number, show_share


@pytest.mark.parametrize(
    ("count", "of", "decimals", "text"),
    [
        (1, 8, 0, "13"),
        (3, 8, 0, "38"),
        (5, 8, 0, "63"),
        (1, 200, 0, "1"),
        (1, 16, 1, "6.3"),
        (7, 7, 1, "100.0"),
    ],
)
def test_halves_of_counts_are_rounded_up(count: int, of: int, decimals: int, text: str) -> None:
    assert show_share(count, of, decimals) == text


@given(st.integers(1, 10**6), st.floats(0, 1), st.sampled_from([0, 1, 2]))
def test_a_share_is_the_nearest_number(of: int, share: float, decimals: int) -> None:
    count = int(share * of)
    away = Fraction(show_share(count, of, decimals)) - Fraction(100 * count, of)
    assert -Fraction(1, 2) < away * 10**decimals <= Fraction(1, 2)


@pytest.mark.parametrize(("value", "text"), [(6.25, "6.3"), (0.05, "0.1"), (0.15, "0.1"), (97.2145, "97.2")])
def test_numbers_are_rounded_as_what_they_are_in_binary(value: float, text: str) -> None:
    assert show_number(value, 1) == text
