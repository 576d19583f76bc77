"""Seconds of stages: found again by what the stages left, and lost without harm."""

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from der.common.errors import UserError
from der.project.graph import list_stages
from der.project.timing import FILE, WHOLE, keep_seconds, list_outputs, read_seconds, timed
from tests.locations import ROOT


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository's graph, and a scratch directory that does not exist yet; returns the latter."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("dvc.yaml", "chain.yaml"):
        shutil.copyfile(ROOT / name, home / name)
    monkeypatch.chdir(home)
    scratch = tmp_path / "cache/scratch"
    monkeypatch.setenv("DER_SCRATCH", str(scratch))
    return scratch


def leave(stage: str, text: str) -> None:
    """Leave outputs of ``stage`` that hold ``text``; directories hold a folder with a file."""
    for output in list_outputs(stage):
        path = output if output.suffix else output / "folder/file"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_every_stage_of_the_graph_has_outputs_of_its_own(place: Path) -> None:
    stages = [stage for stages in list_stages().values() for stage in stages]
    outputs = [output for stage in stages for output in list_outputs(stage)]
    assert len(set(outputs)) == len(outputs) > len(stages)
    assert not [output for output in outputs if "$" in str(output)]
    assert Path("data/checkpoints/2") in list_outputs("train_task@2")
    assert Path("metrics/summary.json") in list_outputs("summarize")
    with pytest.raises(UserError, match=r"^dvc\.yaml: no stage odd; restore it"):
        list_outputs("odd")


def test_a_restored_run_has_its_own_seconds(place: Path) -> None:
    for text, seconds in (("first", 10.0), ("second", 20.0)):
        for stage in ("train_task@1", "train_task@2"):
            leave(stage, f"{stage} {text}")
            keep_seconds(stage, seconds + int(stage[-1]))
    stages = ["train_task@1", "train_task@2", "evaluate@1"]
    assert read_seconds(stages) == {"train_task@1": 21.0, "train_task@2": 22.0}
    leave("train_task@1", "train_task@1 first")
    assert read_seconds(stages) == {"train_task@1": 11.0, "train_task@2": 22.0}
    leave("train_task@2", "of another machine")
    assert read_seconds(stages) == {"train_task@1": 11.0}
    leave("train_task@2", "train_task@1 first")
    assert read_seconds(stages) == {"train_task@1": 11.0}, "of another stage"


def test_large_files_are_told_by_their_size(place: Path) -> None:
    for text in ("a" * (WHOLE + 1), "b" * (WHOLE + 1), "b" * (WHOLE + 2)):
        leave("download", text)
        if text[0] == "a":
            keep_seconds("download", 1.0)
        assert read_seconds(["download"]) == ({"download": 1.0} if len(text) == WHOLE + 1 else {})


def test_a_stage_that_fails_leaves_no_seconds(place: Path) -> None:
    leave("evaluate@1", "{}")
    with pytest.raises(RuntimeError), timed("evaluate@1"):
        raise RuntimeError
    assert not place.exists()
    with timed("evaluate@1"):
        leave("evaluate@1", "{}")
    assert read_seconds(["evaluate@1"])["evaluate@1"] >= 0


def test_a_graph_that_cannot_be_read_stops_no_stage(place: Path) -> None:
    with timed("evaluate@1"):
        leave("evaluate@1", "{}")
        Path("dvc.yaml").write_text("stages: [", encoding="utf-8")
    assert not place.exists()


def test_nothing_is_written_into_the_project(place: Path) -> None:
    leave("evaluate@1", "{}")
    before = sorted(Path().rglob("*"))
    keep_seconds("evaluate@1", 1.0)
    assert sorted(Path().rglob("*")) == before and [path.name for path in place.iterdir()] == [FILE]


def test_damaged_lines_are_passed_over(place: Path) -> None:
    leave("evaluate@1", "{}")
    keep_seconds("evaluate@1", 1.0)
    with (place / FILE).open("ab") as stream:
        stream.write(b'[]\n{"stage": 1}\n\xff\n' + b"[" * 100_000 + b'\n{"stage": "evalu')
    assert read_seconds(["evaluate@1"]) == {"evaluate@1": 1.0}


def test_no_place_to_write_to_is_no_fault(place: Path) -> None:
    leave("evaluate@1", "{}")
    place.parent.mkdir()
    place.write_text("a file where the scratch directory should be", encoding="utf-8")
    keep_seconds("evaluate@1", 1.0)
    place.unlink()
    Path("dvc.yaml").unlink()
    keep_seconds("evaluate@1", 1.0)
    assert not place.exists()


def write_many(stage: str) -> None:
    for seconds in range(100):
        keep_seconds(stage, float(seconds))


def test_lines_of_two_processes_stay_whole(place: Path) -> None:
    stages = ["evaluate@1", "evaluate@2"]
    for stage in stages:
        leave(stage, "{}")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(stage,)) for stage in stages]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = (place / FILE).read_text(encoding="utf-8").splitlines()
    assert len([json.loads(line) for line in lines]) == 200
    assert read_seconds(stages) == dict.fromkeys(stages, 99.0)
