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
    "DER_TENSORBOARD=runs dvc repro": ["runs/step_01-0123abcd/representation/events.out.tfevents.1.a.1.0"],
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
    "Put them into `data/images`": ["data/images/train/cat/0.png"],
}
KEPT = (
    "dvc.lock",
    "metrics/summary.json",
    "params.yaml",
    "results/a.json",
    "docs/page.png",
)  # to be committed


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A new git repository with the project's .gitignore, committed."""
    shutil.copyfile(ROOT / ".gitignore", tmp_path / ".gitignore")
    for line in (
        "git init --quiet",
        "git add --all",
        "git -c user.name=a -c user.email=b commit --quiet -m ignored",
    ):
        subprocess.run(line.split(), cwd=tmp_path, check=True)
    return tmp_path


def status(repository: Path, names: list[str]) -> list[str]:
    """What git would add once these files are there."""
    for name in names:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).touch()
    line = ["git", "status", "--porcelain", "--untracked-files=all"]
    printed = subprocess.run(line, cwd=repository, capture_output=True, text=True, check=True).stdout
    return sorted(row.removeprefix("?? ") for row in printed.splitlines())


@pytest.mark.parametrize("command", LEFT)
def test_what_a_command_of_a_page_leaves_is_ignored(command: str, repository: Path) -> None:
    assert any(command in read_page(page) for page in (*PAGES, "CONTRIBUTING.md"))
    assert status(repository, LEFT[command]) == []


def test_what_belongs_to_the_project_is_not(repository: Path) -> None:
    assert status(repository, list(KEPT)) == sorted(set(KEPT))
