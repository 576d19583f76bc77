"""Which stages belong to one run of DVC."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from der.pipeline import parent
from der.pipeline.launch import find_dvc, name_run
from tests.locations import ROOT

# Two stages in shells of their own, as DVC starts them, and the name that each gives to its run.
DVC = """
import subprocess, sys
for _ in range(2):
    line = [sys.executable, "-c", "from der.pipeline.launch import name_run; print(name_run())"]
    subprocess.run(["sh", "-c", '"$@"; true', "sh", *line], check=True)
"""


@pytest.fixture(autouse=True)
def anew() -> None:
    name_run.cache_clear()


def run_dvc(**environment: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment
    done = subprocess.run([sys.executable, "-c", DVC], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_stages_of_one_dvc_share_a_name_and_those_of_another_have_another() -> None:
    first, second = (run_dvc(DVC_STAGE="train_task@1") for _ in range(2))
    assert len(first) == len(second) == 2
    assert len(set(first)) == len(set(second)) == 1
    assert set(first) != set(second)


def test_without_dvc_a_process_is_a_run() -> None:
    assert len(set(run_dvc())) == 2
    assert name_run() == name_run()


def test_a_dvc_that_has_ended_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "split")
    monkeypatch.setattr(parent, "find_dvc", lambda: None)
    assert name_run()


def test_shells_are_passed_over() -> None:
    found = find_dvc()
    assert found is None or Path(found.exe()).name not in ("sh", "bash", "dash")
