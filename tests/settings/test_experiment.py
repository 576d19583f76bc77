"""Presets as settings, read from the package alone."""

import re
from pathlib import Path
from typing import Any

import pytest

from der.core.errors import UserError
from der.pipeline.presets import load_settings
from der.settings.experiment import DIRECTORY, list_names, preset, read_preset, read_settings
from tests.locations import ROOT
from tests.pipeline.clones import settings_of


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_default_is_a_new_project_s() -> None:
    assert preset("digits") == load_settings(ROOT / "params.yaml") == read_settings(ROOT / "params.yaml")


def test_a_preset_is_what_a_project_that_applies_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: preset(name) for name in list_names()}
    monkeypatch.chdir(ROOT)
    assert found == {name: settings_of(name) for name in found}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("notebok", "did you mean notebook or notebook_plus?"),
        *((one, "known: ablation_") for one in (3, None, [3])),
    ],
)
def test_a_name_of_none(name: Any, hint: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(f'{name}: no preset of that name; {hint}')}"):
        preset(name)


def test_a_mapping_in_one_line_is_a_value_as_a_whole(elsewhere: Path) -> None:
    for name, text in (
        ("digits", (DIRECTORY / "digits.yaml").read_text(encoding="utf-8")),
        ("a", "base: digits\ntrain:\n  masks: {sharpness: 400, start_mean: 1}\n"),
        ("b", "base: a\ntrain:\n  masks: {sharpness: 9}\n  seed: 7\n"),
    ):
        (elsewhere / f"{name}.yaml").write_text(text, encoding="utf-8")
    train = read_preset("b", elsewhere)["train"]
    assert train["masks"] == {"sharpness": 9} and train["seed"] == 7 and train["precision"] == "float32"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not found; give a file of settings"),
        (b"\xff", "not UTF-8; save it in that encoding"),
        (b"a: [", r"not valid YAML \(line .*\)"),
        (b"dataset: 3\n", "dataset: 3 does not fit; write the keys source, .*"),
    ],
)
def test_a_file_that_holds_no_settings(content: bytes | None, message: str, elsewhere: Path) -> None:
    if content is not None:
        (elsewhere / "my.yaml").write_bytes(content)
    with pytest.raises(UserError, match=rf"^my\.yaml: {message}$"):
        read_settings("my.yaml")
