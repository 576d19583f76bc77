"""Published curves: those of the same protocol, and no others."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from der.project.presets import load_preset
from der.project.published import published_curves
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
        curves = published_curves(settings_of(preset))
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
    assert not published_curves(settings_of("notebook", steps=[["a", "b"]]))


@cache
def protocol_of(preset: str) -> tuple[Any, ...]:
    values = load_preset(preset)
    protocol = values["protocol"]
    return values["dataset"]["source"], protocol["first_classes"], protocol["later_classes"]
