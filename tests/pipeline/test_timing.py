"""Seconds of stages: found again by what the stages left, and lost without harm."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from der.core.cost import Spent, StageTime, processor_name
from der.pipeline.project import list_outputs
from der.pipeline.timing import FILE, keep_time, read_last, read_times, running_clock, timed
from tests.locations import ROOT

# Two stages in shells of their own, as DVC starts them, and the name that each gives to its run.
DVC = """
import subprocess, sys
for _ in range(2):
    line = [sys.executable, "-c", "from der.pipeline.environment import name_run; print(name_run())"]
    subprocess.run(["sh", "-c", '"$@"; true', "sh", *line], check=True)
"""


def leave(stage: str, text: str) -> None:
    """Leave outputs of ``stage`` that hold ``text``; directories hold a folder with a file."""
    for output in list_outputs(stage):
        path = output if output.suffix else output / "folder/file"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def keep(stage: str, seconds: float, **fields: Any) -> None:
    """Leave a line for ``stage``, as if it had run; ``fields`` are others than a run here has."""
    keep_time(stage, Spent(seconds, 1))
    path = Path(os.environ["DER_SCRATCH"]) / FILE
    *lines, last = path.read_bytes().splitlines(keepends=True)
    changed = msgspec.structs.replace(msgspec.json.decode(last, type=StageTime), **fields)
    path.write_bytes(b"".join(lines) + msgspec.json.encode(changed) + b"\n")


def seconds_of(stages: list[str]) -> dict[str, float]:
    return {stage: time.seconds for stage, time in read_times(stages).items()}


def test_a_restored_run_has_its_own_seconds(place: Path) -> None:
    for text, seconds in (("first", 10.0), ("second", 20.0)):
        for stage in ("train_task@1", "train_task@2"):
            leave(stage, f"{stage} {text}")
            keep(stage, seconds + int(stage[-1]))
    stages = ["train_task@2", "train_task@1", "evaluate@1"]
    assert list(seconds_of(stages).items()) == [("train_task@2", 22.0), ("train_task@1", 21.0)]
    leave("train_task@1", "train_task@1 first")
    assert seconds_of(stages) == {"train_task@1": 11.0, "train_task@2": 22.0}
    leave("train_task@2", "of another machine")
    assert seconds_of(stages) == {"train_task@1": 11.0}
    leave("train_task@2", "train_task@1 first")
    assert seconds_of(stages) == {"train_task@1": 11.0}, "of another stage"


def test_what_the_last_run_computed_is_told_from_what_was_kept(place: Path) -> None:
    stages = ["train_task@1", "evaluate@1", "summarize"]
    for stage in stages:
        leave(stage, "first")
        keep(stage, 10.0, run="first")
    assert {time.computed for time in read_times(stages).values()} == {True}
    for stage in stages[1:]:  # an edit that reaches these
        leave(stage, "second")
        keep(stage, 2.0, run="second")
    computed = {stage: time.computed for stage, time in read_times(stages).items()}
    assert computed == {"train_task@1": False, "evaluate@1": True, "summarize": True}
    for stage in stages[1:]:  # the edit taken back: DVC restores them
        leave(stage, "first")
    assert {(time.seconds, time.computed) for time in read_times(stages).values()} == {(10.0, False)}
    keep("check", 1.0, run="third")  # which alone runs then
    assert {(time.seconds, time.computed) for time in read_times(stages).values()} == {(10.0, False)}
    keep("summarize", 3.0, run="third")  # other code with the same result
    keep("evaluate@1", 3.0, run="fourth", project="/another")
    assert [time.computed for time in read_times(stages).values()] == [False, False, True]


def test_the_last_run_of_a_stage_in_this_project(place: Path) -> None:
    leave("train_task@1", "first")
    keep("train_task@1", 10.0)
    keep("train_task@2", 30.0)
    leave("train_task@1", "second")
    keep("train_task@1", 20.0)
    leave("train_task@1", "first")
    keep("evaluate@1", 1.0, project="/another")
    keep("train_task@1", 99.0, project="/another")
    last = read_last(["train_task@1", "evaluate@1"])
    assert {stage: time.seconds for stage, time in last.items()} == {"train_task@1": 20.0}


def test_the_time_of_a_marker_is_none_of_the_stage(place: Path) -> None:
    keep("build_memory@1", 10.0, torch="2.9.0")
    keep("build_memory@2", 20.0, torch="2.9.0")
    keep("build_memory@2", 0.1, torch=None)
    keep("build_memory@3", 0.1, torch=None)
    keep("split", 1.0, torch=None)
    last = read_last(["build_memory@1", "build_memory@2", "build_memory@3", "split"])
    assert {stage: time.seconds for stage, time in last.items()} == {
        "build_memory@1": 10.0,
        "build_memory@2": 20.0,
        "split": 1.0,
    }


def test_an_experiment_in_a_copy_is_of_the_project(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path.cwd()
    copy = home / ".dvc/tmp/exps/standalone/tmp12"
    copy.mkdir(parents=True)
    for name in ("dvc.yaml", "chain.yaml"):
        shutil.copyfile(home / name, copy / name)
    monkeypatch.chdir(copy)
    leave("evaluate@1", "of the experiment")
    keep("evaluate@1", 10.0)
    monkeypatch.chdir(home)
    assert read_times(["evaluate@1"]) == {}
    assert read_last(["evaluate@1"])["evaluate@1"].seconds == 10.0
    leave("evaluate@1", "of the experiment")  # `dvc exp apply`
    assert seconds_of(["evaluate@1"]) == {"evaluate@1": 10.0}


def test_the_machine_and_the_epochs_of_a_training(place: Path) -> None:
    import torch

    with timed("train_task@1"):
        leave("train_task@1", "{}")
        clock = running_clock()
        assert clock is running_clock()
        clock.epochs |= {"representation": 40, "classifier": 30}
        clock.earlier = Spent(1000.0, 2)
    assert running_clock() is not clock
    (time,) = read_times(["train_task@1"]).values()
    assert time.seconds >= 1000
    assert (time.runs, time.epochs, time.torch) == (3, 70, torch.__version__)
    assert time.device.startswith(processor_name()) or torch.cuda.is_available()


def test_damaged_lines_are_passed_over(place: Path) -> None:
    leave("evaluate@1", "{}")
    keep("evaluate@1", 1.0)
    with (place / FILE).open("ab") as stream:
        stream.write(b'[]\n{"stage": 1}\n\xff\n{"stage": "evalu')
    assert seconds_of(["evaluate@1"]) == {"evaluate@1": 1.0}


def test_seconds_that_cannot_be_kept_stop_no_stage(place: Path) -> None:
    leave("evaluate@1", "{}")
    place.parent.mkdir(parents=True)
    place.write_text("a file where the scratch directory should be", encoding="utf-8")
    keep_time("evaluate@1", Spent(1.0, 1))
    place.unlink()
    with timed("evaluate@1"):
        Path("dvc.yaml").write_text("stages: [", encoding="utf-8")
    assert not place.exists()


def run_dvc(**environment: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment
    done = subprocess.run([sys.executable, "-c", DVC], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_stages_of_one_dvc_share_a_name_and_those_of_another_have_another() -> None:
    first, second = (run_dvc(DVC_STAGE="train_task@1") for _ in range(2))
    assert [len(first), len({*first}), len({*first, *second})] == [2, 1, 2]
    assert len(set(run_dvc())) == 2  # without DVC a process is a run
    assert run_dvc(TORCHELASTIC_RUN_ID="theirs") == ["theirs", "theirs"]
