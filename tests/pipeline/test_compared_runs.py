"""Runs that git has: beside each other on a page, the one before the last edit, and the commit's own."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from der.core.errors import UserError
from der.core.files import write_json
from der.pipeline.dvc import is_recorded
from der.pipeline.page import make_comparison, read_compared, read_earlier
from der.summary.series import Summary, summarise
from der.summary.verdict import Reference
from tests.locations import ROOT
from tests.summary.step_metrics import MATRIX, make_steps

AUTHOR = ("-c", "user.name=Tests", "-c", "user.email=tests@example.org")


def git(*words: str) -> str:
    return subprocess.run(["git", *AUTHOR, *words], check=True, capture_output=True, text=True).stdout.strip()


def commit_all() -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", "A run")


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git repository without a commit."""
    monkeypatch.chdir(tmp_path)
    Path("metrics").mkdir()
    git("init", "--quiet")


def commit_run(top1: float, seed: int) -> str:
    """A finished run in a commit of its own; returns its revision."""
    write_json(Path("metrics/summary.json"), summarise(make_steps([[90.0], [top1, top1]], [4, 4])))
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["train"]["seed"] = seed
    content["dataset"]["path"] = f"somewhere/{seed}"
    Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    commit_all()
    return git("rev-parse", "HEAD")


@pytest.fixture
def revisions() -> list[str]:
    """Those of two runs; the second is an experiment of the first, too."""
    revisions = [commit_run(80, 0), commit_run(70, 1)]
    git("update-ref", f"refs/exps/ab/{revisions[0]}/brave-seed", revisions[1])
    return revisions


def test_revisions_and_experiments_are_read_from_git(revisions: list[str]) -> None:
    shutil.rmtree("metrics")  # what lies there does not count
    for names in (["HEAD~1", "HEAD"], ["HEAD~1", "brave-seed"], [revisions[0][:8], revisions[1]]):
        runs = read_compared(names)
        assert [run.name for run in runs] == names
        assert [run.summary["last_top1"] for run in runs] == [78, 68]
        assert all(full.startswith(run.revision) for full, run in zip(revisions, runs, strict=True))
        assert [run.differing for run in runs] == [{"train.seed": "0"}, {"train.seed": "1"}]  # no places
    assert make_comparison(["HEAD~1", "brave-seed"]).startswith("report: metrics/comparison.html, ")
    assert "brave-seed" in Path("metrics/comparison.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("revisions")
@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["HEAD"], "der report: HEAD alone; name two or more revisions or experiments to compare$"),
        (
            ["HEAD", "nobody"],
            "nobody: neither a revision nor an experiment; see `git log` and `dvc exp list`$",
        ),
        (["HEAD", "empty"], r"empty: its commit \w+ holds no metrics/summary\.json of a finished run; name"),
    ],
)
def test_what_cannot_be_compared(names: list[str], sentence: str) -> None:
    git("branch", "empty", git("commit-tree", "-m", "none", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"))
    with pytest.raises(UserError, match=f"^{sentence}"):
        make_comparison(names)


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
    commit_all()


def run(steps: int, lost: float = 0.0) -> Summary:
    """A run of some steps, ``lost`` points below another."""
    return summarise(make_steps([[one - lost for one in row] for row in MATRIX[:steps]], [4, 2, 2][:steps]))


def compared(own: Summary, images: list[str]) -> Reference | None:
    """What a run is compared to, before and after it is committed."""
    leave(own, images)
    before = read_earlier(own)
    commit(own, images)
    assert read_earlier(own) == before
    return before


@pytest.mark.parametrize(
    ("steps", "images", "name", "compared_steps"),
    [
        (3, ["a", "b", "c"], "before the last edit", None),
        (2, ["a", "b"], "before the last edit, steps 1 to 2", 2),  # of a longer protocol
        (3, ["a", "x", "c"], "before the last edit, step 1", 1),  # of another order after that
    ],
)
def test_steps_of_the_same_images_are_compared(
    steps: int, images: list[str], name: str, compared_steps: int | None
) -> None:
    before = run(steps, 1.0)
    commit(before, images)
    found = compared(run(3), ["a", "b", "c"])
    assert found is not None and (found.name, found.steps) == (name, compared_steps)
    assert ("over the steps that have the same images" in found.source) == (compared_steps is not None)
    if compared_steps != 1:
        assert found.average.value == before["average_top1"] and found.last.value == before["last_top1"]


@pytest.mark.parametrize(
    ("before", "images"),
    [(run(2), ["a", "b"]), (run(3, 1.0), ["x", "b", "c"]), (run(3, 1.0), []), (None, [])],
    ids=["one step more", "another data set", "without a lock of theirs", "nothing is committed"],
)
def test_nothing_to_compare(before: Summary | None, images: list[str]) -> None:
    if before is not None:
        commit(before, images)
    leave(run(3), ["a", "b", "c"])
    assert read_earlier(run(3)) is None


@pytest.mark.parametrize("text", ["", "stages: [", "stages: 1\n", "\xff"])
def test_a_lock_that_cannot_be_read_is_of_no_images(text: str) -> None:
    leave(run(3, 1.0), ["a", "b", "c"])
    Path("dvc.lock").write_text(text, encoding="latin-1")
    commit_all()
    leave(run(3), ["a", "b", "c"])
    assert read_earlier(run(3)) is None


PARAMETERS: dict[str, Any] = {"train": {"seed": 0, "masks": None}, "memory": {"budget": 200}}


def record(parameters: Any = PARAMETERS, summary: str = "{}", stage: str = "report") -> None:
    """Commit dvc.lock and a summary; the lock is of these ``parameters`` and this ``summary``."""
    md5 = hashlib.md5(summary.encode()).hexdigest()
    dependencies = [{"path": "presets", "md5": "0.dir"}, {"path": "metrics/summary.json", "md5": md5}]
    report = {"params": {"params.yaml": parameters}, "deps": dependencies}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {stage: report}}))
    Path("metrics/summary.json").write_text("{}")
    commit_all()


def test_a_run_is_recorded_if_lock_and_summary_are_its_own() -> None:
    assert not is_recorded(PARAMETERS)  # no commit
    record()
    assert is_recorded(PARAMETERS)
    assert not is_recorded({**PARAMETERS, "memory": {"budget": 100}})
    assert not is_recorded({**PARAMETERS, "evaluate": {"group_labels": 1}})
    Path("dvc.lock").write_text("of a run that is not committed")
    assert is_recorded(PARAMETERS)
    for other in ({"summary": "[]"}, {"parameters": {"memory": {"budget": 200}}}, {"stage": "check"}):
        record(**other)
        assert not is_recorded(PARAMETERS)
