"""A checkpoint directory for the tests of its files."""

from pathlib import Path

import pytest

from der.model.checkpoint import save_checkpoint
from der.model.metadata import save_empty_checkpoint
from tests.builders import random_checkpoint
from tests.model.checkpoint_files import FIRST, SECOND


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of two steps, beside those of step 0 and step 1."""
    save_empty_checkpoint(tmp_path / "0")
    save_checkpoint(tmp_path / "1", random_checkpoint(FIRST), tmp_path / "0")
    save_checkpoint(tmp_path / "2", random_checkpoint(SECOND), tmp_path / "1")
    return tmp_path / "2"
