"""Places that tests of the project's files start from."""

import shutil
from pathlib import Path

import pytest

from tests.locations import ROOT
from tests.pipeline.clones import make_clone


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository's parameters and graph, and a scratch directory not made yet, which it returns."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("params.yaml", "dvc.yaml", "chain.yaml"):
        shutil.copyfile(ROOT / name, home / name)
    monkeypatch.chdir(home)
    scratch = tmp_path / "cache/scratch"
    monkeypatch.setenv("DER_SCRATCH", str(scratch))
    return scratch


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what presets read and write, as the current directory."""
    return make_clone(tmp_path, monkeypatch)
