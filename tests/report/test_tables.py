"""The rows of the page's tables against loops and by hand."""

import numpy as np
import pytest

from der.report.tables import LONGEST_WORD, breakable, class_rows, confused_pairs, parameter_lines, show_bytes
from der.summary.uncertainty import sampling_error
from tests.report.report_runs import IMAGES, make_run


def test_confused_pairs_match_loops() -> None:
    run = make_run([5, 5])
    expected = [
        (-run.confusion[i, j], i, j)
        for i in range(10)
        for j in range(10)
        if i != j and run.confusion[i, j] > 0
    ]
    pairs = confused_pairs(run.confusion, run.names)
    assert [(pair.true, pair.predicted, pair.images) for pair in pairs] == [
        (run.names[i], run.names[j], -minus) for minus, i, j in sorted(expected)
    ]
    for pair in pairs:
        assert pair.of == IMAGES


def test_class_rows_by_hand() -> None:
    run = make_run([2, 1])
    counts = np.array([[8, 0, 0], [1, 5, 2], [0, 3, 3]])
    rows = class_rows(counts, run.names, run.steps)
    assert [(row.label, row.step, row.images) for row in rows] == [(0, 1, 8), (1, 1, 8), (2, 2, 6)]
    assert [[(pair.predicted, pair.images) for pair in row.taken_for] for row in rows] == [
        [],
        [("class 2", 2), ("class 0", 1)],
        [("class 1", 3)],
    ]
    assert rows[2].accuracy == run.steps[1]["per_class"]["class 2"]
    assert rows[2].error == sampling_error(rows[2].accuracy, 6)
    assert rows[2].nme == run.steps[1]["nme"]["per_class"]["class 2"]
    assert rows[0].curve == [step["per_class"]["class 0"] for step in run.steps]
    assert rows[2].curve == [rows[2].accuracy]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_700, "1 MB"),
        (1_912_345, "1.91 MB"),
        (10**16, "1e+04 TB"),
    ],
)
def test_show_bytes(count: int, text: str) -> None:
    assert show_bytes(count) == text


def test_a_name_can_be_broken_in_no_word_of_any_language() -> None:
    longest = "x" * LONGEST_WORD
    assert breakable(f"a <b> {longest} c") == f"a &lt;b&gt; {longest} c"
    assert breakable(f"a {longest}&{longest}y") == f"a <wbr>{longest}<wbr>&amp;{longest[1:]}<wbr>xy"


def test_parameter_lines_are_nested() -> None:
    lines = parameter_lines({"train": {"masks": None, "base": {"rates": [0.1, 1], "on": True}}, "a": "é"})
    assert [(line.depth, line.key, line.value) for line in lines] == [
        (0, "train", None),
        (1, "masks", "null"),
        (1, "base", None),
        (2, "rates", "[0.1, 1]"),
        (2, "on", "true"),
        (0, "a", "é"),
    ]
