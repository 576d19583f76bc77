"""What README and docs show of records and of published results."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.core.serialization import write_json
from der.pipeline.presets import PRESETS, list_presets
from der.pipeline.published import curves_beside
from der.pipeline.records import Record, read_records, record_metrics
from der.pipeline.results import (
    BLOCKS,
    describe_steps,
    measured_table,
    presets_table,
    put_block,
    renew_results,
)
from der.pipeline.results_figure import results_chart
from der.report.charts import FILE, draw
from der.settings.presets import list_names
from der.summary.series import summarise
from tests.locations import ROOT
from tests.pipeline.finished_run import metrics_of

PUBLISHED = json.loads((ROOT / "results/published.json").read_text(encoding="utf-8"))


def record_of(name: str, *classes: int, order: str = "podnet_1", seed: int = 0, **metrics: Any) -> Record:
    """A record of a run whose top-1 falls from 89 by one point a step, but for ``metrics``."""
    steps = [metrics_of(step, count) for step, count in enumerate(classes or (20, 40), start=1)]
    return {
        "preset": name,
        "seed": seed,
        "class_order": order,
        "revision": "0" * 40,
        "machine": {"device": "A processor (cpu)", "torch": "2.9"},
        "images": None,
        "seconds": {},
        "metrics": record_metrics(summarise(steps), steps) | metrics,  # type: ignore[typeddict-item]
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository's presets, published results and pages of markers, as the current directory."""
    shutil.copytree(ROOT / PRESETS, tmp_path / PRESETS)
    (tmp_path / "results").mkdir()
    shutil.copyfile(ROOT / "results/published.json", tmp_path / "results/published.json")
    (tmp_path / "docs").mkdir()
    for name, page in BLOCKS.items():
        (tmp_path / page).write_text(f"<!-- {name} -->\nold\n<!-- /{name} -->\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def keep(name: str, record: Any) -> None:
    write_json(Path(f"results/{name}.json"), record)


# Tables


def test_only_what_was_measured_has_a_row() -> None:
    numbers = {"average_top1": 75.357, "last_top1": 65.22}
    published = {"b": {"unpruned": numbers}, "c": {"pruned": numbers, "unpruned": numbers}}
    runs = {
        "a": [
            record_of("a", order="podnet_1", seed=3, average_top1=70, last_top1=60, forgetting=1.0),
            record_of("a", order="podnet_1", seed=1, average_top1=70, last_top1=60, forgetting=2.0),
            record_of("a", order="random5", average_top1=73, last_top1=61.5, forgetting=4.5),
        ],
        "b": [],
        "c": [record_of("c", average_top1=1, last_top1=2, forgetting=None)],
    }
    assert measured_table(runs, published).splitlines()[2:] == [
        "| a | 71.00 / 60.50 |  |  | 2.50 | 3: podnet_1 seeds 1, 3; random5 seed 0 |",
        "| c | 1.00 / 2.00 | 75.36 / 65.22 | 75.36 / 65.22 |  | 1: podnet_1 seed 0 |",
    ]


def test_every_preset_stays_in_the_list(place: Path) -> None:
    first, *rows = presets_table(list_presets(), PUBLISHED["presets"]).splitlines()[1:]
    assert set(first) == {"|", "-"} and len(rows) == len(list_names())
    (notebook,) = [row for row in rows if row.startswith("| notebook |")]
    assert notebook.endswith(" | 73.23 / 64.86 |  |") and "CIFAR-100 in 4 steps of 25" in notebook
    assert any(row.endswith(" | 75.36 / 65.22 | 74.64 / 64.36 |") for row in rows)


def test_records_by_preset(place: Path) -> None:
    for seed in (1, 0):
        keep(f"digits-alphabetical-seed{seed}", record_of("digits", seed=seed))
    runs = read_records()
    assert [one["seed"] for one in runs.pop("digits")] == [0, 1]
    assert set(runs) == set(list_presets()) - {"digits"} and not any(runs.values())
    keep("odd-x-seed0", record_of("odd"))
    with pytest.raises(UserError, match=r"^results/odd-x-seed0\.json: odd is no preset; rename it there"):
        read_records()


@pytest.mark.parametrize("content", [[], {"preset": "digits"}, record_of("digits") | {"more": 1}])
def test_files_that_are_no_records(place: Path, content: Any) -> None:
    keep("digits-x-seed0", content)
    with pytest.raises(UserError, match=r"^results/digits-x-seed0\.json: no record of a run; write it with"):
        read_records()


def test_blocks_between_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n"
    page.write_text(text, encoding="utf-8")
    once = put_block(page, "a", "| new |")
    assert once == "before\n<!-- a -->\n| new |\n<!-- /a -->\nafter\n"
    page.write_text(once, encoding="utf-8")
    assert put_block(page, "a", "| new |") == once
    for broken in (text.replace("<!-- a -->", ""), text.replace("<!-- /a -->", ""), None):
        page.unlink() if broken is None else page.write_text(broken, encoding="utf-8")
        with pytest.raises(UserError, match=r"page\.md: no <!-- a --> with <!-- /a --> after it; write both"):
            put_block(page, "a", "| new |")


def test_the_pages_are_current(place: Path) -> None:
    for path in (ROOT / "results").glob("*.json"):
        shutil.copyfile(path, place / "results" / path.name)
    for page in BLOCKS.values():
        shutil.copyfile(ROOT / page, place / page)
    renew_results()
    for page in BLOCKS.values():
        assert page.read_bytes() == (ROOT / page).read_bytes(), "run `der results`"
    drawn = {path.name for path in Path("docs/figures").iterdir()}
    pictures = set((ROOT / "docs/figures").iterdir()) - set((ROOT / "docs/figures").glob("page_*"))
    assert drawn == {path.name for path in pictures}


# Curves


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("notebook", ["notebook", "paper_b0_5"]),
        ("paper_b0_10", ["paper_b0_10"]),
        ("paper_b0_10_masks", ["paper_b0_10_masks"]),
        ("pycil_b0_10", ["paper_b0_10"]),
        ("ablation_no_rebalancing", ["paper_b0_10"]),
        ("digits", []),
        ("imagenet100_b0_10", []),  # published as top-5 alone
    ],
)
def test_own_curve_and_the_papers_of_the_nearest_protocol(place: Path, name: str, beside: list[str]) -> None:
    curves = curves_beside(name)
    assert [curve.name for curve in curves] == beside
    kind = "pruned" if name.endswith("masks") else "unpruned"
    for curve in curves:
        numbers = PUBLISHED["presets"][curve.name][kind]
        assert curve.top1 == numbers["top1"] and curve.source == PUBLISHED["sources"][numbers["source"]]
        assert curve.classes[-1] == 100 and len(curve.classes) == len(curve.top1)
    if name == "notebook":
        assert [curve.classes for curve in curves] == [[25, 50, 75, 100], [20, 40, 60, 80, 100]]


def test_the_notebooks_numbers() -> None:
    """As the notebook prints them, typed anew."""
    numbers = PUBLISHED["presets"]["notebook"]["unpruned"]
    assert numbers["top1"] == [85.04, 74.56, 68.48, 64.86]
    assert numbers["gamma"] == [None, 0.7513, 0.6516, 0.6183]


def test_steps_in_words() -> None:
    runs = [record_of("notebook", 25, 50, 75, forgetting=forgetting) for forgetting in (3.0, 4.0)]
    for step in runs[1]["metrics"]["steps"].values():
        step["top1"] += 1
    numbers = {"unpruned": {"top1": [85.04, 74.56, 68.48], "gamma": [None, 0.7513, 0.6516]}}
    assert describe_steps("notebook", runs, numbers) == (
        "`notebook`, step by step (means of 2 runs): top-1 89.50, 88.50, 87.50 "
        "(published 85.04, 74.56, 68.48); gamma of weight alignment 0.800, 0.700 (published 0.751, 0.652). "
        "Average forgetting after the last step: 3.50 points."
    )
    for record in runs:
        for step in record["metrics"]["steps"].values():
            step["gamma"] = None
    assert describe_steps("joint", runs[:1], {}) == (
        "`joint`, step by step (1 run): top-1 89.00, 88.00, 87.00. Average forgetting after the last step: "
        "3.00 points."
    )


def test_results_are_renewed_with_figures(place: Path) -> None:
    keep("notebook-random-list1993-seed0", record_of("notebook", 25, 50, 75, 100))
    keep("digits-alphabetical-seed0", record_of("digits", 4, 6, 8, 10))  # nothing is published beside it
    keep("joint-alphabetical-seed0", record_of("joint", 100))  # one step: no curve
    said = renew_results()
    texts = {name: page.read_text(encoding="utf-8") for name, page in BLOCKS.items()}
    assert texts["results"] == f"<!-- results -->\n{said}\n<!-- /results -->\n" and said.count("\n") == 4
    assert "![Top-1 over classes seen: digits, measured](figures/digits.png)" in texts["figures"]
    assert "![Top-1 over classes seen: notebook, measured; notebook, published" not in texts["results"]
    assert re.search(
        r"seen: notebook, measured; notebook.*, published.*\(figures/notebook.png\)", texts["figures"]
    )
    assert "`paper_b0_5`, the paper's nearest protocol, is another experiment: CIFAR-100" in texts["figures"]
    assert "| joint |" in texts["presets"]
    assert {path.name for path in Path("docs/figures").iterdir()} == {"digits.png", "notebook.png"}
    assert renew_results() == said
    assert texts == {name: page.read_text(encoding="utf-8") for name, page in BLOCKS.items()}


def test_equal_records_give_equal_figures(place: Path) -> None:
    runs = [record_of("notebook", 25, 50, 75, 100, seed=seed) for seed in (0, 1)]
    draw(results_chart("notebook", runs, curves_beside("notebook")).spec(FILE), place / "a.png")
    draw(results_chart("notebook", runs, curves_beside("notebook")).spec(FILE), place / "b.png")
    runs[1]["metrics"]["steps"]["2"]["top1"] -= 5
    draw(results_chart("notebook", runs, curves_beside("notebook")).spec(FILE), place / "c.png")
    first, same, other = ((place / f"{name}.png").read_bytes() for name in "abc")
    assert first == same != other and first.startswith(b"\x89PNG")


# Published numbers

KINDS = [(name, kind) for name, kinds in PUBLISHED["presets"].items() for kind in kinds]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_published_averages_are_those_of_the_curves(name: str, kind: str) -> None:
    assert name in list_names()
    numbers = PUBLISHED["presets"][name][kind]
    assert numbers["source"] in PUBLISHED["sources"]
    if curve := numbers.get("top1"):
        assert sum(curve) / len(curve) == pytest.approx(numbers["average_top1"], abs=0.01)
        assert curve[-1] == numbers["last_top1"]


def test_published_numbers_of_the_paper() -> None:
    """As in its tables, without and with pruning, typed anew."""
    expected = {
        "paper_b0_5": (76.80, 68.72, 75.55, 67.27),
        "paper_b0_10": (75.36, 65.22, 74.64, 64.36),
        "paper_b0_20": (74.09, 62.49, 73.98, 62.56),
        "paper_b0_50": (72.41, 59.08, 72.05, 59.77),
        "paper_b50_2": (74.61, 68.44, 74.57, 68.50),
        "paper_b50_5": (73.21, 66.26, 72.60, 66.03),
        "paper_b50_10": (72.81, 65.64, 72.45, 65.58),
        "imagenet100_b0_10": (77.18, 66.70, 76.12, 66.06),
    }
    for name, numbers in expected.items():
        kinds = [PUBLISHED["presets"][name][kind] for kind in ("unpruned", "pruned")]
        assert tuple(one[key] for one in kinds for key in ("average_top1", "last_top1")) == numbers
    steps = {name: len(PUBLISHED["presets"][name]["pruned"]["top1"]) for name in list(expected)[:-1]}
    assert list(steps.values()) == [5, 10, 20, 50, 3, 6, 11]
