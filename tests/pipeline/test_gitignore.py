"""`git add --all` after the pages' commands adds only what belongs to the project."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.locations import ROOT
from tests.runs.pages import PAGES, read_page

# What each command leaves beside what DVC tracks; every command stands on a page.
LEFT = {
    "der export data/checkpoints/4 --format torch": ["network.pt2"],
    "der export data/checkpoints/4 --format onnx": ["network.onnx", "network.onnx.data"],
    "der export data/checkpoints/4 --format safetensors": ["network.safetensors"],
    "der compare --csv sweep.csv": ["sweep.csv"],
    "save('nine.png')": ["nine.png"],
    'model.save("model")': ["model/model.json", "model/checkpoint/network.json", "model/memory/labels.npy"],
    "dvc plots show": ["dvc_plots/index.html", "dvc_plots/static/plot.png"],
    "DER_LISTENER=examples.trackers.tensorboard_tracker:TensorBoardTracker dvc repro": [
        "runs/train_task_1/representation/events.out.tfevents.1.a.1.0"
    ],
    "make docs": ["site/index.html"],
    "make run": [".venv/pyvenv.cfg", "der.egg-info/PKG-INFO", "src/der/__pycache__/a.pyc"],
    "make test": [
        *(".pytest_cache/a", ".mypy_cache/a", ".ruff_cache/a", ".hypothesis/examples/a"),
        *(".grimp_cache/a", ".import_linter_cache/a"),
    ],
    "dvc repro": [
        *("data/raw/train/a.npy", "data/tasks/1/classes.json", "data/fingerprints/split"),
        *("data/checkpoints/1/network.json", "data/memory/1/labels.npy", "data/raw.partial/a.npy"),
        *("metrics/steps/1/metrics.json", "metrics/training/1/log.csv", "metrics/plots/accuracy.csv"),
        "metrics/report.html",
    ],
    "Put the photos into `data/images`": ["data/images/train/cat/0.png"],
}
KEPT = ["dvc.lock", "metrics/summary.json", "params.yaml", "results/a.json", "docs/page.png"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A new git repository with the project's .gitignore."""
    shutil.copyfile(ROOT / ".gitignore", tmp_path / ".gitignore")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def test_what_commands_of_the_pages_leave_is_ignored_and_what_belongs_to_the_project_is_not(
    repository: Path,
) -> None:
    text = "".join(map(read_page, (*PAGES, "CONTRIBUTING.md")))
    assert [command for command in LEFT if command not in text] == []
    for name in [*KEPT, *(name for names in LEFT.values() for name in names)]:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).touch()
    line = ["git", "ls-files", "--others", "--exclude-standard"]
    added = subprocess.run(line, cwd=repository, capture_output=True, text=True, check=True).stdout
    assert sorted(added.split()) == sorted([".gitignore", *KEPT])
