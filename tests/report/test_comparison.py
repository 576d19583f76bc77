"""The page that compares runs, as text and by hand."""

import math
import re

import pytest

from der.report.page import ComparedRun, measures_beside, render_comparison
from der.summary.series import Summary, summarise
from der.summary.verdict import Measured, sampling_error
from tests.report.reader import Reader
from tests.report.report_runs import make_run
from tests.summary.step_metrics import make_steps

FIRST = summarise(make_steps([[90.0], [80.0, 85.0]], [4, 4]))  # top-1 89 and 83, on 40 and 80 images
OTHER = summarise(make_steps([[91.0], [60.0, 65.0], [60.0, 55.0, 95.0]], [4, 4, 2]))


def runs(*summaries: Summary) -> list[ComparedRun]:
    return [
        ComparedRun(f"<run {index}>", f"abc{index}", summary, {"train.seed": str(index)})
        for index, summary in enumerate(summaries)
    ]


def measure(summary: Summary) -> list[Measured | None]:
    (run,) = runs(summary)
    return [own for own, _ in measures_beside(run, run)]


def test_measures_have_errors_by_hand() -> None:
    errors = [sampling_error(89, 40), sampling_error(83, 80)]
    # 10 points lost on the 40 images of the old classes, from 90 to 80.
    lost = math.hypot(sampling_error(90, 40), sampling_error(80, 40))
    assert measure(FIRST) == [(86, pytest.approx(sum(errors) / 2)), (83, errors[1]), (10, lost)]


def test_one_step_has_no_forgetting() -> None:
    assert measure(summarise(make_steps([[90.0]], [4])))[2] is None


def test_runs_that_stop_at_other_numbers_of_classes_stand_side_by_side() -> None:
    text = Reader(render_comparison(runs(FIRST, OTHER))).text
    steps = re.sub(r" ±\S+", "", " ".join(text.split())).rpartition("<run 1>")[2]
    assert steps.split() == ["4", "89.00", "90.00", "8", "83.00", "63.00", "10", "–", "92.00"]
    assert "These runs have other steps" in text
    assert "These runs have other steps" not in Reader(render_comparison(runs(FIRST, FIRST))).text


def test_differences_are_to_the_first_run_and_say_what_is_within_the_error() -> None:
    page = render_comparison(runs(FIRST, OTHER, FIRST))
    rows = re.findall(r"<tr><th scope=\"row\">&lt;run \d&gt;.*?</tr>", page, re.DOTALL)
    assert len(rows) == 3
    error = math.hypot(sampling_error(83, 80), sampling_error(92, 100))
    assert f"+9.00<small> ±{error:.1f}</small>" in rows[1]
    assert "within the error" not in rows[0] and rows[2].count("within the error") == 3
    assert Reader(page).data["comparison"]["series"][1]["name"] == "<run 1>"
    assert "train.seed" in page


def test_equal_runs_give_equal_bytes_and_nothing_is_fetched() -> None:
    summary = make_run([4, 2]).summary
    page = render_comparison(runs(summary, FIRST))
    assert page == render_comparison(runs(summary, FIRST))
    for tag, attributes in Reader(page).elements:
        for key in ("src", "href", "srcset"):
            assert (attributes.get(key) or "#").startswith(("#", "data:")), (tag, attributes)
