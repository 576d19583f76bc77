"""Runs by revision or by the name of an experiment."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from der.core.errors import UserError
from der.core.files import write_json
from der.pipeline.compared_runs import make_comparison, read_compared
from der.summary.series import summarise
from tests.locations import ROOT
from tests.summary.step_metrics import make_steps

AUTHOR = ("-c", "user.name=Tests", "-c", "user.email=tests@example.org")


def git(*words: str) -> str:
    return subprocess.run(["git", *AUTHOR, *words], check=True, capture_output=True, text=True).stdout.strip()


def commit(top1: float, seed: int) -> str:
    """A finished run in a commit of its own; returns its revision."""
    write_json(Path("metrics/summary.json"), summarise(make_steps([[90.0], [top1, top1]], [4, 4])))
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["train"]["seed"] = seed
    content["dataset"]["path"] = f"somewhere/{seed}"
    Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    git("add", "--all")
    git("commit", "--quiet", "--message", f"seed {seed}")
    return git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The revisions of two runs; the second is an experiment of the first, too."""
    monkeypatch.chdir(tmp_path)
    Path("metrics").mkdir()
    git("init", "--quiet")
    revisions = [commit(80, 0), commit(70, 1)]
    git("update-ref", f"refs/exps/ab/{revisions[0]}/brave-seed", revisions[1])
    return revisions


def test_revisions_and_experiments_are_read_from_git(repository: list[str]) -> None:
    shutil.rmtree("metrics")  # what lies there does not count
    for names in (["HEAD~1", "HEAD"], ["HEAD~1", "brave-seed"], [repository[0][:8], repository[1]]):
        runs = read_compared(names)
        assert [run.name for run in runs] == names
        assert [run.summary["last_top1"] for run in runs] == [78, 68]
        assert all(full.startswith(run.revision) for full, run in zip(repository, runs, strict=True))
        assert [run.differing for run in runs] == [{"train.seed": "0"}, {"train.seed": "1"}]  # no places


def test_the_page_is_written_beside_the_others(repository: list[str]) -> None:
    assert make_comparison(["HEAD~1", "brave-seed"]).startswith("report: metrics/comparison.html, ")
    assert "brave-seed" in Path("metrics/comparison.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["HEAD"], r"^der report: HEAD alone; name two or more revisions or experiments to compare$"),
        (
            ["HEAD", "nobody"],
            r"^nobody: neither a revision nor an experiment; see `git log` and `dvc exp list`$",
        ),
    ],
)
def test_what_cannot_be_compared(names: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make_comparison(names)


def test_a_commit_without_results(repository: list[str]) -> None:
    git("rm", "--quiet", "metrics/summary.json")
    git("commit", "--quiet", "--message", "none")
    with pytest.raises(
        UserError, match=r"^HEAD: its commit \w+ holds no metrics/summary\.json of a finished"
    ):
        read_compared(["HEAD", repository[0]])
