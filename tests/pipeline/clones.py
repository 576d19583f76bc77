"""A clone's parameters and presets, for tests that apply these."""

import shutil
from functools import cache
from pathlib import Path

import pytest

from der.pipeline.presets import PRESETS, parse_settings, write_preset
from der.pipeline.project import write_chain
from der.settings.experiment import Settings, list_names, read_order
from tests.locations import ROOT

COMMITTED = (ROOT / "params.yaml").read_text(encoding="utf-8")
NAMES = list_names()

# Classes at the first step, at every later one, and steps.
PROTOCOLS = {
    "digits": (4, 2, 4),
    "digits_masks": (4, 2, 4),
    **dict.fromkeys(("notebook", "notebook_plus"), (25, 25, 4)),
    "joint": (100, 0, 1),
    **dict.fromkeys(("photos", "photos_tuned"), (100, 0, 1)),  # all classes of a folder
    "paper_b0_5": (20, 20, 5),
    "paper_b0_20": (5, 5, 20),
    "paper_b0_50": (2, 2, 50),
    "paper_b50_2": (50, 25, 3),
    "paper_b50_5": (50, 10, 6),
    "paper_b50_10": (50, 5, 11),
}
TEN_BY_TEN = (10, 10, 10)  # all others


def make_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what presets read and write, as the current directory."""
    for name in ("params.yaml", "chain.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / PRESETS, tmp_path / PRESETS)
    (tmp_path / "data/images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text_of("digits"), encoding="utf-8")
    write_chain(4)
    return tmp_path


@cache
def text_of(name: str) -> str:
    """params.yaml with the preset applied."""
    return write_preset(name, {"dataset.path": "data/images", "dataset.downloads": "~/.cache/der"})


@cache
def settings_of(name: str) -> Settings:
    return parse_settings(text_of(name))


def class_names(settings: Settings) -> list[str]:
    """All classes of the data set in alphabetical order: CIFAR-100's, or made-up ones."""
    if settings.dataset.source == "cifar100":
        return sorted(read_order("podnet_1"))
    return [f"class {index:02}" for index in range(10 if settings.dataset.source == "digits" else 100)]
