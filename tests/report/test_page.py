"""The page as text: the same bytes, everything there, whole names, and of a bounded size."""

import json
import re
from dataclasses import replace
from functools import cache
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from der.core.errors import TURNS
from der.evaluation.results import Predictions
from der.report import charts
from der.report.page import (
    LONGEST_WORD,
    MOST_PAIRS,
    FinishedRun,
    breakable,
    class_rows,
    confused_pairs,
    render,
    show_bytes,
    show_parameters,
    write_page,
)
from der.summary.series import show_share
from der.summary.verdict import Measured, Reference, sampling_error, wilson
from tests.report.reader import Reader
from tests.report.report_runs import ODD_NAMES, make_run, with_times, without_mistakes

pytestmark = pytest.mark.slow

RUNS = {
    "joint": make_run([2]),
    "one class at a time": make_run([1] * 22),
    "names": with_times(make_run([4, 2], ODD_NAMES, channels=3)),
    "no mistakes": without_mistakes(make_run([2, 2])),
}
SECTIONS = [
    *("verdict", "accuracy", "origin", "time", "forgetting", "confusion", "classes"),
    *("calibration", "memory", "training", "steps", "parameters"),
]
MEASURED = re.compile(r"<!-- measured -->.*?<!-- /measured -->", re.DOTALL)


@cache
def page_of(name: str) -> str:
    return render(RUNS[name])


def without_drawings(run: FinishedRun) -> str:
    """A page for tests that look at none of the drawings, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "svg", lambda spec, size: "")
        return render(run)


def words_of(run: FinishedRun) -> str:
    return " ".join(Reader(without_drawings(run)).text.split())


@pytest.mark.parametrize("name", RUNS)
def test_every_part_is_there_in_order_and_nothing_is_fetched(name: str, tmp_path: Path) -> None:
    page, run = page_of(name), RUNS[name]
    write_page(render(run) if name == "names" else page, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page  # the same bytes
    reader = Reader(page)
    sections = [attributes["id"] for tag, attributes in reader.elements if tag == "section"]
    links = [attributes["href"] or "" for tag, attributes in reader.elements if tag == "a"]
    assert sections == SECTIONS and links[: len(SECTIONS)] == [f"#{one}" for one in SECTIONS]
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and {link.removeprefix("#") for link in links} <= set(ids)
    for tag, attributes in reader.elements:
        for key in ("src", "href", "srcset"):
            assert (attributes.get(key) or "#").startswith(("#", "data:")), (tag, attributes)
    assert not re.search(r"url\((?!\$\{document)", page)
    figures = [(one["id"] or "").removeprefix("figure-") for tag, one in reader.elements if tag == "figure"]
    several = len(run.steps) > 1
    assert figures == [
        "accuracy",
        *(["timeline"] if run.times else []),
        *(["accuracy_matrix", "old_and_new"] if several else []),
        "confusion",
        *("reliability", "memory", "training"),
    ]
    assert set(figures) - {"timeline"} <= reader.data.keys()
    assert all(one["aria-label"] for tag, one in reader.elements if tag == "figure")


def test_the_verdict_is_said_in_a_sentence() -> None:
    run = make_run([4, 2, 2, 2])
    summary, last = run.summary, run.steps[-1]
    said = words_of(run)
    average, end = summary["average_top1"], summary["last_top1"]
    assert re.search(
        rf"10 classes in 4 steps: {average:.2f} % ±\d+\.\d on average, {end:.2f} % ±\d+\.\d at the end; "
        r"old classes (lost|gained) \d+\.\d points ±\d+\.\d ?; "
        rf"{show_parameters(last['parameters'])} parameters\.",
        said,
    )
    assert f"one image is {100 / last['test_images']:.2f} points" in said
    for points, said in ((-0.04, "old classes lost 0.0 points"), (-0.06, "old classes gained 0.1 points")):
        assert said in words_of(replace(run, summary={**summary, "forgetting": points}))
    one = words_of(RUNS["joint"])
    assert "2 classes in 1 step: " in one and "old classes" not in one.partition("Accuracy over classes")[0]


def test_what_is_compared_is_told_from_what_is_within_the_error() -> None:
    run = make_run([4, 2])
    average = run.summary["average_top1"]
    references = [
        Reference("near", "a paper", Measured(average + 0.1), Measured(run.summary["last_top1"] + 0.001)),
        Reference("far", "a paper", Measured(1.0), Measured(1.0)),
    ]
    page = without_drawings(replace(run, references=references))
    assert re.findall(r"<tr><th scope=\"row\">(\w+)<br>", page) == ["near", "far"]
    page = " ".join(Reader(page).text.split())
    near, far = page.partition("near a paper")[2].split("far a paper")[:2]
    assert "-0.10 ±" in near and "+0.00 ±" in near and near.count("within the error") == 2
    assert f"+{average - 1:.2f} ±" in far and "within the error" not in far.partition("Accuracy over")[0]


def test_what_no_cache_may_give_back_stands_between_marks() -> None:
    run = make_run([2, 2])
    earlier = Reference(
        "before the last edit", "a commit, abc", Measured(50.0), Measured(40.0), is_earlier=True
    )
    other = with_times(replace(run, references=[*run.references, earlier]), computed_from=2)
    other = replace(other, revision="0a1b2c3")
    pages = [render(one) for one in (run, other)]
    cut = [MEASURED.sub("", page) for page in pages]
    assert cut[0] == cut[1]
    assert "took 41.0 s of finished work from the cache" not in pages[0]
    for said in ("before the last edit", "0a1b2c3", "of finished work from the cache", "A processor (cpu)"):
        assert said in pages[1] and said not in pages[0]


def test_stages_of_unknown_seconds_are_counted_and_named() -> None:
    run = with_times(RUNS["joint"])
    times = {stage: time for stage, time in run.times.items() if stage not in ("download", "train_task@1")}
    said = words_of(replace(run, times=times))
    assert "14 swithout 2 stages of unknown seconds" in said  # two lines of the strip
    assert "2 of 7 stages ran on another machine: their seconds are not known, and in no sum." in said
    assert "train_task@1 – another machine" in said and "split 2.0 the last run" in said


def test_percentages_have_the_errors_of_their_own_images() -> None:
    run = make_run([4, 2])
    last, said = run.steps[-1], words_of(run)
    row = [(last["top1"], 120), (last["top5"], 120), (last["old"] or 0, 80), (last["new"], 40)]
    assert " ".join(f"{one:.2f} ±{sampling_error(one, images):.1f}" for one, images in row) in said
    pair = max(confused_pairs(run), key=lambda pair: pair.images)
    share = f"{pair.images} {show_share(pair.images, 20, 1)} ±{sampling_error(5 * pair.images, 20):.1f}"
    assert f"{pair.true} {pair.predicted} {share}" in said
    assert re.search(rf"right in {last['top1']:.1f} % ±{sampling_error(last['top1'], 120):.1f} of all", said)
    assert re.search(
        r"calibration error: \d+\.\d points ±\d+\.\d, .* without any gap would show about \d", said
    )


def test_names_survive_as_text() -> None:
    page = page_of("names")
    reader = Reader(page)
    assert set(reader.names) >= set(ODD_NAMES)
    assert set(reader.names) <= {*ODD_NAMES, "–"}
    assert "alert(1)</script>" not in page
    assert reader.data["confusion"]["names"] == ODD_NAMES


def test_a_name_does_not_turn_the_order_of_the_text_beside_it() -> None:
    page = without_drawings(make_run([2], ["evil\u202egnp", "cat\u2066s"]))
    assert "evilU+202Egnp" in page and "catU+2066s" in page
    assert not any(letter in page for letter in TURNS)


def test_many_pairs_are_cut_and_the_page_says_so() -> None:
    run = make_run([40])
    predictions = Predictions(np.zeros(1600, np.int32), np.ones(1600, np.float32))
    page = without_drawings(replace(run, confusions=[np.ones((40, 40), np.int64)], predictions=predictions))
    assert f"The {MOST_PAIRS:,} most frequent of 1,560 pairs." in page
    assert page.count('<tr><td class="own name">') == MOST_PAIRS + 40


def test_parameters_that_differ_are_shown_and_the_rest_is_folded() -> None:
    order = [f"class {label}" for label in range(100)]
    run = replace(RUNS["joint"], parameters={"dataset": {"source": "x"}, "order": order})
    page = without_drawings(run)
    (cell,) = re.findall(r"<td><details><summary>(.*?)</summary>(.*?)</details></td>", page)
    assert json.loads(unescape(cell[1])) == order and len(unescape(cell[0])) <= 60
    assert "All are those of preset digits." in page
    said = words_of(replace(run, differences=[("train.seed", "3", "0")]))
    assert "Preset digits, but: parameter this run preset train.seed 3 0" in said


def test_numbers_in_words() -> None:
    parameters = {950: "950", 463_504: "464 k", 1_855_434: "1.9 M", 123_175_200: "123 M"}
    assert {count: show_parameters(count) for count in parameters} == parameters
    sizes = {0: "0 B", 999: "999 B", 1000: "1 kB", 999_700: "1 MB", 1_912_345: "1.91 MB", 10**16: "1e+04 TB"}
    assert {count: show_bytes(count) for count in sizes} == sizes


def test_sizes_are_bounded() -> None:
    """Of noise, which no format makes small: with photographs a page is a third of that."""
    digits = make_run([4, 2, 2, 2], exemplars=20, right=0.97, epochs=40)
    assert len(render(with_times(digits)).encode()) < 500_000


def test_class_rows_by_hand() -> None:
    run = make_run([2, 1])
    counts = np.array([[8, 0, 0], [1, 5, 2], [0, 3, 3]])
    run = replace(run, confusions=[*run.confusions[:1], counts])
    pairs = confused_pairs(run)
    assert pairs == [("class 2", "class 1", 3, 6), ("class 1", "class 2", 2, 8), ("class 1", "class 0", 1, 8)]
    rows = class_rows(run, pairs)
    assert [(row.label, row.step, row.images) for row in rows] == [(0, 1, 8), (1, 1, 8), (2, 2, 6)]
    assert [row.taken_for for row in rows] == [[], pairs[1:], pairs[:1]]
    assert rows[2].accuracy == run.steps[1]["per_class"]["class 2"]
    assert rows[2].nme == run.steps[1]["nme"]["per_class"]["class 2"]


@pytest.mark.parametrize("label", [0, 10, 21])
def test_a_class_has_its_curve_and_the_band_around_it(label: int) -> None:
    run = RUNS["one class at a time"]
    accuracies = [step["per_class"][f"class {label}"] for step in run.steps[label:]]
    curve = re.findall(r'<svg class="curve".*?</svg>', page_of("one class at a time"), re.DOTALL)[label]
    assert f"from step {label + 1} on: {', '.join(f'{one:.1f}' for one in accuracies)}" in curve
    line, band = (
        [[float(one) for one in pair.split(",")] for pair in points.split()]
        for points in re.findall(r' points="([^"]*)"', curve)[::-1]
    )
    assert [(88 - y) / 0.8 for _, y in line] == pytest.approx(accuracies, abs=0.1)
    low, high = wilson(accuracies[-1], 20)
    ends = [y for x, y in band if x == max(x for x, _ in band)]
    assert (ends[1] - ends[0]) / 0.8 == pytest.approx(high - low, abs=0.3)


def test_a_name_can_be_broken_in_no_word_of_any_language() -> None:
    longest = "x" * LONGEST_WORD
    assert breakable(f"a <b> {longest} c") == f"a &lt;b&gt; {longest} c"
    assert breakable(f"a {longest}&{longest}y") == f"a <wbr>{longest}<wbr>&amp;{longest[1:]}<wbr>xy"
