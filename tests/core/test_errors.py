"""How a program ends with what users can put right; names in lines and tables."""

import csv
import errno
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from der.core.errors import UserError, csv_cell, ending_in_a_sentence, printable

BEGINNINGS = st.sampled_from(["", "=", "+", "-", "@", "\t", "\r", "'", "a"])


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("params.yaml: no such key"), "error: params.yaml: no such key"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.npy"), "error: a.npy: No space left on device"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "error: files: No space left on device"),
        (OSError("odd"), "error: files: odd"),
        (UserError("a\nb.png: no picture"), r"error: a\nb.png: no picture"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES), "a\nb"), r"error: a\nb: Permission denied"),
        (KeyboardInterrupt(), "stopped"),
    ],
)
def test_it_ends_in_one_line(error: BaseException, sentence: str) -> None:
    with pytest.raises(SystemExit) as ended, ending_in_a_sentence("stopped"):
        raise error
    assert ended.value.code == sentence  # written to stderr, and status 1


@given(st.text() | st.text(st.sampled_from("a\u202e\u202c\u2067\u2069")))
def test_a_name_stays_on_its_line_and_turns_no_other_round(text: str) -> None:
    assert len(printable(text).splitlines()) <= 1
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(printable(text))
    assert printable(printable(text)) == printable(text)
    if text.isprintable():
        assert printable(text) == text


@given(BEGINNINGS, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_no_cell_is_a_formula_and_every_text_comes_back(beginning: str, text: str) -> None:
    name = beginning + text
    cell = csv_cell(name)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell.removeprefix("'") == name
    stream = io.StringIO(newline="")
    csv.writer(stream).writerow([cell])
    assert next(csv.reader(io.StringIO(stream.getvalue(), newline=""))) == ([cell] if cell else [""])
