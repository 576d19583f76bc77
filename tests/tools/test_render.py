"""What README and docs show of records and of published results."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.core.files import write_json
from der.pipeline.presets import PRESETS
from tests.locations import ROOT
from tests.tools.finished_run import metrics_of
from tools.results.record import Record, record_metrics
from tools.results.render import BLOCKS, measured_table, renew_pages


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
        "metrics": record_metrics(steps) | metrics,  # type: ignore[typeddict-item]
        "compressed": {},
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository's presets, records and pages, as the current directory."""
    for name in (PRESETS, Path("results")):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "docs").mkdir()
    for page in BLOCKS.values():
        shutil.copyfile(ROOT / page, tmp_path / page)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_pages_are_current(place: Path) -> None:
    renew_pages()
    for page in BLOCKS.values():
        assert page.read_bytes() == (ROOT / page).read_bytes(), "run `python -m tools.results render`"
    drawn = {path.name for path in Path("docs/figures").iterdir()}
    assert drawn == {path.name for path in (ROOT / "docs/figures").iterdir() if "page_" not in path.name}


@pytest.mark.slow
def test_results_are_renewed_with_figures(place: Path) -> None:
    for path in Path("results").glob("*-*.json"):
        path.unlink()
    for record in (record_of("digits", 4, 6, 8, 10), record_of("joint", 100)):  # one step: no curve
        write_json(Path(f"results/{record['preset']}-podnet_1-seed0.json"), record)
    said = renew_pages()
    texts = {name: page.read_text(encoding="utf-8") for name, page in BLOCKS.items()}
    assert f"<!-- results -->\n{said}\n<!-- /results -->\n" in texts["results"] and said.count("\n") == 3
    assert "![Top-1 over classes seen: digits, measured](figures/digits.png)" in texts["figures"]
    (figure,) = Path("docs/figures").iterdir()
    assert figure.name == "digits.png" and figure.read_bytes().startswith(b"\x89PNG")
    page = BLOCKS["results"]
    page.write_text(texts["results"].replace("<!-- /results -->", ""), encoding="utf-8")
    with pytest.raises(UserError, match=r"no <!-- results --> with <!-- /results --> after it; write both"):
        renew_pages()


def test_only_what_was_measured_has_a_row() -> None:
    numbers = {"average_top1": 75.357, "last_top1": 65.22}
    published = {"b": {"unpruned": numbers}, "c": {"pruned": numbers, "unpruned": numbers}}
    runs = {
        "a": [
            record_of("a", seed=3, average_top1=70, last_top1=60, forgetting=1.0),
            record_of("a", order="random5", average_top1=73, last_top1=61.5, forgetting=4.0),
        ],
        "b": [],
        "c": [record_of("c", average_top1=1, last_top1=2, forgetting=None)],
    }
    runs["a"][1]["compressed"] = {step: {"top1": top1} for step, top1 in (("1", 80), ("2", 61))}  # type: ignore
    assert measured_table(runs, published).splitlines()[2:] == [
        "| a | 71.50 / 60.75 |  |  | 2.50 | 2: podnet_1 seed 3; random5 seed 0 |",
        "| a, compressed to one extractor | 70.50 / 61.00 |  |  |  | 1: random5 seed 0 |",
        "| c | 1.00 / 2.00 | 75.36 / 65.22 | 75.36 / 65.22 |  | 1: podnet_1 seed 0 |",
    ]
