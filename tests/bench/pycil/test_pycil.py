"""The comparison with PyCIL, as far as it goes without a clone of PyCIL."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.pycil.accuracy import format_accuracy, paired, standard_error
from bench.pycil.contenders import CONTENDERS, Job
from bench.pycil.images import prepare_job
from bench.pycil.parity import compare_changes
from bench.pycil.plans import Plan
from bench.pycil.results import Results
from der.core.errors import UserError

PLAN = Plan("short", (2, 2), "seed", 5, 3, 8, 1, 8, 2, (1,), 4, 8, 1)
OURS = CONTENDERS["ours"]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Six classes with six images each, of 16x16 pixels."""
    random = np.random.RandomState(0)
    arrays = {
        f"{split}_x": random.randint(0, 256, (36, 16, 16, 3), dtype=np.uint8) for split in ("train", "test")
    }
    labels = np.repeat(np.arange(6), 6)
    np.savez(tmp_path / "images.npz", train_y=labels, test_y=labels, **arrays)
    return tmp_path / "images.npz"


@pytest.fixture
def job(archive: Path) -> Iterator[Job]:
    with prepare_job(archive, PLAN, 0, "cpu") as prepared:
        yield prepared


def test_our_changes_of_images_are_those_of_torchvision(job: Job) -> None:
    assert compare_changes(job).value == 0


def test_results_of_another_case_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "short.json"
    Results(path, {"case": "short", "quick": True}).add({"program": "ours", "seed": 0})
    Results(path, {"case": "short", "quick": True}).check()
    with pytest.raises(UserError, match=r"short\.json: of quick True, not False; name another file"):
        Results(path, {"case": "short", "quick": False}).check()


def test_differences_are_those_of_seeds_that_both_have() -> None:
    rows = [("ours", 0, 50.0), ("ours", 1, 60.0), ("ours", 2, 0.0), ("pycil", 1, 58.0), ("pycil", 0, 54.0)]
    records = [{"program": one, "seed": seed, "top1": [top1], "average": top1} for one, seed, top1 in rows]
    assert paired(records, "ours", "pycil", 0) == paired(records, "ours", "pycil", None) == [-4.0, 2.0]
    assert standard_error([-4.0, 2.0]) == pytest.approx(3.0)
    assert "| ours less pycil | 2 | -1.00 ± 3.00 | -1.00 ± 3.00 |" in format_accuracy(records)
