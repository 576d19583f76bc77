"""Published curves: those of the same protocol, and no others."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from der.common.serialization import write_json
from der.project.presets import load_preset
from der.project.published import joint_accuracy, published_curves, published_references
from der.settings.experiment import Settings
from der.settings.parsing import parse
from tests.locations import ROOT


def settings_of(preset: str, **protocol: Any) -> Settings:
    """params.yaml with the values of a preset."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    wanted = load_preset(preset)
    values["dataset"]["source"] = wanted["dataset"]["source"]
    steps = {key: wanted["protocol"][key] for key in ("first_classes", "later_classes")}
    values["protocol"] |= steps | protocol
    return parse(Settings, values)


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("repository")
def test_published_curves_are_those_of_the_same_protocol() -> None:
    published = json.loads(Path("results/published.json").read_text(encoding="utf-8"))
    seen = set()
    for preset in ("digits", "joint", "notebook", "pycil_b0_10", "paper_b0_50", "paper_b50_10"):
        settings = settings_of(preset)
        curves = published_curves(settings.dataset.source, settings.protocol)
        expected = {
            tuple(results["top1"])
            for other, kinds in published["presets"].items()
            for results in kinds.values()
            if "top1" in results and protocol_of(other) == protocol_of(preset)
        }
        assert {tuple(curve.top1) for curve in curves} == expected
        assert len(curves) == len(expected)
        for curve in curves:
            assert curve.source in published["sources"].values()
            assert len(curve.classes) == len(curve.top1) and curve.classes[-1] == 100
            seen.add(curve.name)
    assert {
        "notebook, without pruning (notebook)",
        "paper_b0_10, without pruning (authors)",
        "paper_b0_10 and paper_b0_10_masks, with pruning (authors)",
    } <= seen
    named = settings_of("notebook", steps=[["a", "b"]])
    assert not published_curves(named.dataset.source, named.protocol)


@pytest.mark.usefixtures("repository")
def test_results_without_a_curve_are_compared_to_as_well() -> None:
    settings = settings_of("pycil_b0_10")
    references = published_references(settings.dataset.source, settings.protocol)
    named = {one.name: (one.average, one.last) for one in references}
    assert named["published: pycil_b0_10, without pruning (pycil)"] == (69.8, 58.7)
    assert named["published: paper_b0_10, without pruning (authors)"] == (75.36, 65.22)


def test_the_upper_bound_is_the_mean_of_recorded_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "src/der/presets", tmp_path / "src/der/presets")
    monkeypatch.chdir(tmp_path)
    assert joint_accuracy("cifar100") is None
    Path("results").mkdir()
    for seed, top1 in ((0, 78.0), (1, 79.0)):
        write_json(Path(f"results/joint-alphabetical-seed{seed}.json"), {"metrics": {"last_top1": top1}})
    assert joint_accuracy("cifar100") == 78.5
    assert joint_accuracy("digits") is None


@cache
def protocol_of(preset: str) -> tuple[Any, ...]:
    values = load_preset(preset)
    protocol = values["protocol"]
    return values["dataset"]["source"], protocol["first_classes"], protocol["later_classes"]
