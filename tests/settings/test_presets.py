"""Presets as settings, read from the package alone."""

import re
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.pipeline.presets import load_settings
from der.settings.experiment import DIRECTORY, list_names, overlay, preset, read_preset
from der.settings.sections import to_values
from tests.locations import ROOT
from tests.pipeline.clones import settings_of


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_default_is_a_new_project_s() -> None:
    assert preset("digits") == load_settings(ROOT / "params.yaml")


@pytest.mark.parametrize("name", list_names())
def test_a_preset_is_what_a_project_that_applies_it_has(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = preset(name)
    monkeypatch.chdir(ROOT)
    assert settings == settings_of(name)


def test_values_are_plain_ones() -> None:
    """Of exactly these types, wherever settings came from: they are written into checkpoints."""

    def types(value: object) -> set[type]:
        if isinstance(value, dict):
            return {type(value)}.union(*map(types, value), *map(types, value.values()))
        return {type(value)}.union(*map(types, value)) if isinstance(value, list) else {type(value)}

    for name in ("paper_b0_10", "digits_masks"):
        assert types(to_values(preset(name))) <= {dict, list, str, int, float, bool, type(None)}


def test_nothing_is_read_or_written_where_one_stands(elsewhere: Path) -> None:
    (elsewhere / "presets").mkdir()
    (elsewhere / "presets/mine.yaml").write_text("base: digits\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^mine: no preset of that name; "):
        preset("mine")
    assert [path.name for path in elsewhere.iterdir()] == ["presets"]


def test_a_name_of_none() -> None:
    with pytest.raises(UserError) as caught:
        preset("notebok")
    assert str(caught.value) == "notebok: no preset of that name; did you mean notebook?"


@pytest.mark.parametrize("name", [3, None, [3]])
def test_what_is_no_name(name: Any) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(str(name))}: no preset of that name; known: ablation_"):
        preset(name)


def test_one_preset_does_not_change_another() -> None:
    before = preset("digits")
    read_preset("notebook")["dataset"]["source"] = "folder"
    assert preset("digits") == before and preset("notebook").dataset.source == "cifar100"


def test_a_mapping_in_one_line_is_a_value_as_a_whole(elsewhere: Path) -> None:
    text = (DIRECTORY / "digits_masks.yaml").read_text(encoding="utf-8")
    masks = text.partition("masks: ")[2].partition("\n")[0]
    (elsewhere / "digits.yaml").write_text((DIRECTORY / "digits.yaml").read_text(encoding="utf-8"))
    (elsewhere / "a.yaml").write_text(f"base: digits\ntrain:\n  masks: {masks}\n", encoding="utf-8")
    (elsewhere / "b.yaml").write_text(
        "base: a\ntrain:\n  masks: {sharpness: 9}\n  seed: 7\n", encoding="utf-8"
    )
    train = read_preset("b", elsewhere)["train"]
    assert train["masks"] == {"sharpness": 9} and train["seed"] == 7 and train["precision"] == "float32"
    assert overlay({"a": {"b": 1, "c": 2}}, read_preset("b", elsewhere)["memory"])["a"] == {"b": 1, "c": 2}


def test_numbers_in_names_count_by_value() -> None:
    names = list_names()
    assert names.index("paper_b0_5") < names.index("paper_b0_10") < names.index("paper_b0_50")
