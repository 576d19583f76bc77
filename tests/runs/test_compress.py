"""Compression in a whole run: a leaf of the graph, resumed to the same bytes, loaded like any checkpoint."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import der
from tests.runs.killing import started, wait_for
from tests.runs.lab import PAGE, Digests, Pipeline, digests

pytestmark = pytest.mark.slow
SHORT = {"compress__epochs": 2, "compress__batch_size": 8}
LEFT = ("data/compressed/", "metrics/compressed/")
STAGE = ("stages.compress", "2")


def others(results: Digests) -> Digests:
    """The results but those of compression and the page."""
    return {path: digest for path, digest in results.items() if not path.startswith((*LEFT, PAGE))}


def test_it_is_a_leaf_and_leaves_a_checkpoint(base: Pipeline, pipeline: Pipeline) -> None:
    before, root = base.results(), pipeline.root
    found = [f"{one}{step}/{name}.json" for one in LEFT for step in (1, 2) for name in ("manifest", "unused")]
    assert [path for path in before if path.startswith(LEFT)] == found  # markers alone
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text[: text.index("compress:")])  # as before there was such a section
    assert pipeline.repro().run == ["check"]
    (root / "params.yaml").write_text(text)
    pipeline.edit(compress__steps="last", **SHORT)
    planned = pipeline.plan()
    assert pipeline.repro().run == ["check", "compress@2", "report"] and "compress@2" in planned
    assert others(pipeline.results()) == others(before)
    metrics = json.loads((root / "metrics/compressed/2/metrics.json").read_text())
    evaluated = json.loads((root / "metrics/steps/2/metrics.json").read_text())
    del evaluated["frozen_top1"]  # the page's, of the first extractor
    assert metrics["whole"] == evaluated
    shown = pipeline.der("show")
    for name, one in metrics.items():
        row = rf"^ +2  {name} +{one['top1']:.2f} .* {one['checkpoint_bytes']:,} +\d+\.\d{{3}}$"
        assert re.search(row, shown, re.MULTILINE)
        assert re.search(row.lstrip("^").rstrip("$"), (root / PAGE).read_text())
    pipeline.edit(compress__steps="all")  # what is compressed stays
    assert pipeline.repro().run == ["check", "compress@1", "report"]
    assert pipeline.der("verify") == "no damage\n"
    assert_usable(root, metrics["compressed"])
    pipeline.edit(compress__steps=None)
    assert pipeline.repro().run == ["check", "report"]
    assert others(pipeline.results()) == others(before)
    assert [path for path in pipeline.results() if path.startswith(LEFT)] == found


def assert_usable(root: Path, metrics: dict[str, float]) -> None:
    """The compressed network is loaded like a step's, and is right as often as its metrics say."""
    model = der.load(root / "data/compressed/2", device="cpu")
    arrays = [np.load(root / f"data/tasks/2/test/{name}.npy") for name in model.classes_]
    tests = np.concatenate(arrays), np.repeat(model.classes_, list(map(len, arrays)))
    measured = model.evaluate(*tests)
    for key in ("top1", "nme", "parameters", "checkpoint_bytes"):
        assert measured[key] == metrics[key]  # type: ignore[literal-required]
    predictor = der.load_predictor(root / "data/compressed/2", "cpu")
    assert 100 * np.mean(model.classes_[predictor(tests[0]).argmax(1)] == tests[1]) == metrics["top1"]


@pytest.mark.torture
def test_a_killed_one_goes_on_to_the_same_bytes_and_the_page_ends_its_state(pipeline: Pipeline) -> None:
    pipeline.edit(compress__steps="last", compress__epochs=60, compress__batch_size=8)
    scratch = Path(pipeline.environment()["DER_SCRATCH"])
    pipeline.succeed("python", "-m", "stages.check")
    pipeline.succeed("python", "-m", *STAGE)
    left = [one.rstrip("/") for one in LEFT]
    expected = digests(pipeline.root, left)
    while True:
        for path in scratch.glob("der-*"):
            shutil.rmtree(path)
        with started(pipeline.plain(), *STAGE) as command:
            wait_for(lambda: command.ended() or [*scratch.glob("der-*/state")])
            command.kill()
        if not [*scratch.glob("der-*/finished")]:
            break
    assert "compress 2, compression: going on after epoch" in pipeline.succeed("python", "-m", *STAGE)
    assert digests(pipeline.root, left) == expected
    pipeline.repro()
    assert not [*scratch.glob("der-*")]
