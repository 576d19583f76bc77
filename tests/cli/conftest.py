"""A checkpoint for commands that read one."""

from pathlib import Path

import pytest

from der.model.checkpoint import save_checkpoint, save_empty_checkpoint
from tests.builders import random_checkpoint


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of five classes, the working directory beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DER_DEVICE", "cpu")
    save_empty_checkpoint(tmp_path / "0")
    save_checkpoint(tmp_path / "1", random_checkpoint([5]), tmp_path / "0")
    return tmp_path / "1"
