"""Names in lines and tables: one line each, no formulas, and nothing lost."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from der.core.errors import csv_cell, printable, text_of_cell

BEGINNINGS = st.sampled_from(["", "=", "+", "-", "@", "\t", "\r", "'", "a"])


@given(st.text())
def test_a_name_stays_on_its_line(text: str) -> None:
    assert len(printable(text).splitlines()) <= 1
    assert printable(printable(text)) == printable(text)
    if text.isprintable():
        assert printable(text) == text


@given(BEGINNINGS, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_no_cell_is_a_formula_and_every_text_comes_back(beginning: str, text: str) -> None:
    name = beginning + text
    cell = csv_cell(name)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert text_of_cell(cell) == name
    stream = io.StringIO(newline="")
    csv.writer(stream).writerow([cell])
    assert next(csv.reader(io.StringIO(stream.getvalue(), newline=""))) == ([cell] if cell else [""])


@pytest.mark.parametrize("name", ["cat", "0", "1+1", "a=b", ""])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert csv_cell(name) == name
