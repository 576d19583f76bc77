"""The page as text: the same bytes, everything there, whole names."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from der.evaluation.mistakes import Mistake, Mistakes
from der.report.page import render, write_report
from der.report.tables import MOST_PAIRS
from tests.report.reader import Reader
from tests.report.report_runs import ODD_NAMES, make_run, without_mistakes

RUNS = {
    "joint": make_run([2]),
    "one class at a time": make_run([1] * 50),
    "100 classes": make_run([10] * 10, phases=("representation", "classifier")),
    "names": make_run([4, 2], ODD_NAMES, channels=3),
    "no mistakes": without_mistakes(make_run([2, 2])),
}


@pytest.mark.parametrize("name", RUNS)
def test_same_run_same_bytes(name: str, tmp_path: Path) -> None:
    for file in ("first.html", "second.html"):
        write_report(RUNS[name], tmp_path / file)
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.html", "second.html"]


@pytest.mark.parametrize("name", RUNS)
def test_every_part_is_there_and_nothing_is_fetched(name: str) -> None:
    reader = Reader(render(RUNS[name]))
    sections = [attributes["id"] for tag, attributes in reader.elements if tag == "section"]
    links = [attributes["href"] for tag, attributes in reader.elements if tag == "a"]
    assert [f"#{section}" for section in sections] == links and len(links) == 9
    assert list(reader.plots) == [
        "figure-accuracy",
        "figure-accuracy_matrix",
        "figure-confusion",
        "figure-training",
    ]
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and set(reader.plots) <= set(ids)
    for tag, attributes in reader.elements:
        for key in ("src", "href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:")), (tag, attributes)
        assert tag != "img" or attributes["alt"]
    curves = reader.plots["figure-training"]["data"]
    steps = {curve["meta"] for curve in curves if "meta" in curve}
    assert steps == set(range(1, len(RUNS[name].steps) + 1))


def test_names_survive_as_text() -> None:
    run = RUNS["names"]
    page = render(run)
    reader = Reader(page)
    assert set(reader.names) >= set(ODD_NAMES)
    assert set(reader.names) <= {*ODD_NAMES, "–"}
    assert "alert(1)</script>" not in page
    # What plotly gets is escaped once more, for it reads labels as mark-up.
    labels = reader.plots["figure-confusion"]["data"][0]["x"]
    assert labels[0] == '&lt;b&gt;&amp;"x"' and labels[5] == "&amp;lt;i&gt;"
    assert "image" not in {tag for tag, _ in reader.elements}


def test_many_pairs_are_cut_and_the_page_says_so() -> None:
    run = replace(RUNS["100 classes"], confusion=np.ones((100, 100), np.int64))
    page = render(run)
    assert f"The {MOST_PAIRS:,} most frequent of 9,900 pairs." in page
    assert page.count("<tr><td") == MOST_PAIRS + 100


def test_one_of_anything_is_not_many() -> None:
    run = make_run([1], exemplars=1)
    steps = [{**run.steps[0], "memory_images": 1, "test_images": 1}]
    mistakes = Mistakes(run.memory.images, [Mistake(true="a", predicted="b", probability=0.9, number=7)])
    page = render(replace(run, steps=steps, mistakes=mistakes)).replace(get_plotlyjs(), "")
    assert not re.findall(r"\b1 (?:classes|steps|images|test images|wrong predictions)\b", page)
    for words in ("1 class in 1 step", "1 test image", "1 image in memory", "1 wrong prediction of"):
        assert words in page
    many = render(RUNS["names"])
    for words in ("6 classes in 2 steps", "120 test images", "12 images in memory", "4 wrong predictions of"):
        assert words in many


def test_numbers_in_cells_are_explained_where_there_are_any() -> None:
    for name, numbers in (("names", True), ("100 classes", False)):
        page = render(RUNS[name])
        heatmap = Reader(page).plots["figure-confusion"]["data"][0]
        assert ("Numbers: percent." in page) == ("text" in heatmap) == numbers


def test_long_parameters_are_folded() -> None:
    order = [f"class {label}" for label in range(100)]
    page = render(replace(RUNS["joint"], parameters={"dataset": {"source": "x"}, "order": order}))
    (cell,) = re.findall(r"<td><details><summary>(.*?)</summary>(.*?)</details></td>", page)
    assert json.loads(unescape(cell[1])) == order and len(unescape(cell[0])) <= 60
