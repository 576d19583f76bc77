"""The run before the last edit: of the same images, or not compared to."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from der.core.files import write_json
from der.pipeline.earlier_run import read_earlier
from der.summary.series import Summary, summarise
from der.summary.verdict import Reference
from tests.summary.step_metrics import make_steps

AUTHOR = ("-c", "user.name=Tests", "-c", "user.email=tests@example.org")
MATRIX = [[90.0], [70.0, 80.0], [75.0, 60.0, 95.0]]


def git(*words: str) -> None:
    subprocess.run(["git", *AUTHOR, *words], check=True)


def leave(summary: Summary, images: list[str]) -> None:
    """Leave a summary, and a lock in which each step's images have such hashes."""
    write_json(Path("metrics/summary.json"), summary)
    stages: dict[str, Any] = {}
    for step, md5 in enumerate(images, start=1):
        for stage, split in (("train_task", "train"), ("evaluate", "test")):
            images_of = {"path": f"data/tasks/{step}/{split}", "hash": "md5", "md5": f"{md5}{split}.dir"}
            others = {"path": f"data/checkpoints/{step}", "hash": "md5", "md5": "0.dir"}
            stages[f"{stage}@{step}"] = {"cmd": "python", "deps": [others, images_of], "outs": []}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")


def commit(summary: Summary, images: list[str]) -> None:
    leave(summary, images)
    git("add", "--all")
    git("commit", "--quiet", "--message", "Results")


def run(steps: int, lost: float = 0.0) -> Summary:
    """A run of some steps, ``lost`` points below another."""
    return summarise(make_steps([[one - lost for one in row] for row in MATRIX[:steps]], [4, 2, 2][:steps]))


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git repository without a commit."""
    monkeypatch.chdir(tmp_path)
    Path("metrics").mkdir()
    git("init", "--quiet")


def compared(own: Summary, images: list[str]) -> Reference | None:
    """What a run is compared to, before and after it is committed."""
    leave(own, images)
    before = read_earlier(own)
    commit(own, images)
    assert read_earlier(own) == before
    return before


def test_another_run_of_the_same_images_and_protocol() -> None:
    commit(run(3, 1.0), ["a", "b", "c"])
    found = compared(run(3), ["a", "b", "c"])
    assert found is not None and found.name == "before the last edit" and found.steps is None
    assert (found.average, found.last) == (run(3, 1.0)["average_top1"], run(3, 1.0)["last_top1"])


def test_of_a_longer_protocol_the_steps_that_both_have() -> None:
    commit(run(2, 1.0), ["a", "b"])
    found = compared(run(3), ["a", "b", "c"])
    assert found is not None and found.name == "before the last edit, steps 1 to 2" and found.steps == 2
    assert (found.average, found.last) == (run(2, 1.0)["average_top1"], run(2, 1.0)["last_top1"])
    assert "over the steps that have the same images" in found.source


def test_one_step_more_leaves_nothing_to_compare() -> None:
    commit(run(2), ["a", "b"])
    assert compared(run(3), ["a", "b", "c"]) is None


@pytest.mark.parametrize(
    "images", [["x", "b", "c"], []], ids=["another data set", "without a lock of theirs"]
)
def test_other_images_or_none_that_are_known(images: list[str]) -> None:
    commit(run(3, 1.0), images)
    assert compared(run(3), ["a", "b", "c"]) is None


def test_another_order_after_the_first_step() -> None:
    commit(run(3, 1.0), ["a", "x", "c"])
    found = compared(run(3), ["a", "b", "c"])
    assert found is not None and (found.name, found.steps) == ("before the last edit, step 1", 1)


@pytest.mark.parametrize("text", ["", "stages: [", "stages: 1\n", "schema: '2.0'\n", "\xff"])
def test_a_lock_that_cannot_be_read_is_of_no_images(text: str) -> None:
    leave(run(3, 1.0), ["a", "b", "c"])
    Path("dvc.lock").write_text(text, encoding="latin-1")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Results")
    leave(run(3), ["a", "b", "c"])
    assert read_earlier(run(3)) is None


def test_nothing_is_committed() -> None:
    leave(run(3), ["a", "b", "c"])
    assert read_earlier(run(3)) is None
