"""`der plan` in words: a run, a sweep, and overrides that DVC does not understand.

That it names what runs is tested on whole runs, in tests/runs/test_edits.py.
"""

import re
from pathlib import Path

import pytest

from der.core.cost import StageTime
from der.core.errors import UserError
from der.pipeline.plan import Stage, Workspace, describe_run, describe_sweep, plan_row, read_rows
from der.pipeline.project import read_text

pytestmark = pytest.mark.usefixtures("clone")


def test_rows_have_in_common_what_they_compute_alike() -> None:
    ((_, parameters),), one = read_rows([]), Path("data/checkpoints/1")
    train = Stage({"train": parameters["train"]}, {}, {}, set(), set())
    build = Stage({"memory": parameters["memory"]}, {one: "hash"}, {one: ["train_task@1"]}, set(), set())
    workspace = Workspace({"train_task@1": train, "build_memory@1": build}, {}, None)

    def plan(*settings: str) -> dict[str, str]:
        ((_, values),) = read_rows(settings)
        return plan_row(workspace, values, rewritten=bool(settings))

    assert plan() == {}
    assert set(plan("memory.budget=50")) == {"build_memory@1"}
    both, other = plan("train.seed=1", "memory.budget=50"), plan("train.seed=1", "memory.budget=60")
    assert both["train_task@1"] == other["train_task@1"]
    assert both["build_memory@1"] != other["build_memory@1"]
    with pytest.raises(UserError, match=r"^protocol: 7 steps, but chain.yaml holds 4; run `der chain 7`$"):
        plan("protocol.later_classes=1")
    with pytest.raises(UserError, match=r"^params.yaml: memory.budget"):
        plan("memory.budget=-1")


def test_rows_are_those_of_dvc() -> None:
    rows = read_rows(["train.seed=1,2", "memory.budget=5,6"])
    assert [words for words, _ in rows] == [
        ["train.seed=1", "memory.budget=5"],
        ["train.seed=1", "memory.budget=6"],
        ["train.seed=2", "memory.budget=5"],
        ["train.seed=2", "memory.budget=6"],
    ]
    assert [(values["train"]["seed"], values["memory"]["budget"]) for _, values in rows] == [
        *((1, 5), (1, 6), (2, 5), (2, 6))
    ]


@pytest.mark.parametrize("word", ["train.seed", "=1", "train..seed=1", "nothing.such=1"])
def test_what_dvc_cannot_read(word: str) -> None:
    before = read_text()
    message = rf"^-S {re.escape(word)}: not understood \(.+\); write KEY=VALUE, with a key of params.yaml$"
    with pytest.raises(UserError, match=message):
        read_rows([word])
    assert read_text() == before


def time(seconds: float) -> StageTime:
    return StageTime(seconds, 1, None, "a processor", None, True)


def test_a_run_in_words() -> None:
    assert describe_run({}, {}) == "`dvc repro` would run nothing"
    text = describe_run({"split": "a", "train_task@1": "b"}, {"train_task@1": time(65.04)})
    assert text.splitlines() == [
        "`dvc repro` would run 2 stages:",
        "",
        "stage         seconds",
        "------------  -------",
        "split               -",
        "train_task@1     65.0",
        "",
        "1 min 5 s in all, by what each took last time, and 1 stage of which nothing is known here",
    ]


def test_a_sweep_in_words() -> None:
    plans = [{"train_task@1": "a", "build_memory@1": "b"}, {"train_task@1": "a", "build_memory@1": "c"}]
    times = {"train_task@1": time(7200.0), "build_memory@1": time(2.0)}
    text = describe_sweep([["memory.budget=5"], ["memory.budget=6"]], plans, times)
    assert text.splitlines() == [
        "2 rows; a stage that two have in common runs once, and counts for the first:",
        "",
        "settings         stages  of its own  seconds",
        "---------------  ------  ----------  -------",
        "memory.budget=5       2           2   7202.0",
        "memory.budget=6       2           1      2.0",
        "",
        "2 h 0 min in all, by what each took last time",
    ]
