"""`der plan` in words: a run, a sweep, and overrides that DVC does not understand.

That it names what runs is tested on whole runs, in tests/runs/test_plan.py and test_edits.py.
"""

import json
import re
from pathlib import Path

import pytest

from der.core.cost import StageTime
from der.core.errors import UserError
from der.pipeline.edits import planned_steps
from der.pipeline.plan import (
    Cost,
    Row,
    Stage,
    Workspace,
    comparable,
    describe_run,
    describe_sweep,
    dump_json,
    estimate,
    plan_row,
    read_rows,
)
from der.pipeline.presets import load_settings
from der.pipeline.project import PARAMS, parse_section, read_text
from der.settings.experiment import Settings
from tests.runs.lab import set_parameters

pytestmark = pytest.mark.usefixtures("clone")


def test_rows_have_in_common_what_they_compute_alike() -> None:
    ((_, parameters),), one = read_rows([]), Path("data/checkpoints/1")
    train = Stage({"train": parameters["train"]}, {}, {}, set(), set())
    build = Stage({"memory": parameters["memory"]}, {one: "hash"}, {one: ["train_task@1"]}, set(), set())
    workspace = Workspace({"train_task@1": train, "build_memory@1": build}, {}, True, None)

    def plan(*settings: str) -> dict[str, str]:
        ((_, values),) = read_rows(settings)
        parsed = parse_section(Settings, values, PARAMS)
        return plan_row(workspace, values, parsed, planned_steps(parsed), rewritten=bool(settings))

    assert plan() == {}
    assert set(plan("memory.budget=50")) == {"build_memory@1"}
    both, other = plan("train.seed=1", "memory.budget=50"), plan("train.seed=1", "memory.budget=60")
    assert both["train_task@1"] == other["train_task@1"]
    assert both["build_memory@1"] != other["build_memory@1"]
    build.stale.add(one)
    assert plan("train.seed=1")["build_memory@1"] != plan("train.seed=2")["build_memory@1"]
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


def took(seconds: float, epochs: int | None = None) -> StageTime:
    return StageTime(seconds, 1, epochs, "a processor", None, True)


STEPS = [["0", "1", "2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]]


def estimates(times: dict[str, StageTime], *stages: str) -> list[Cost]:
    return list(estimate(stages, load_settings(), STEPS, times).values())


def test_a_stage_takes_what_it_took_last_time() -> None:
    times = {"split": took(0.5), "train_task@1": took(60.0, epochs=40)}
    assert estimates(times, "split", "train_task@1") == [Cost(0.5, False), Cost(60.0, False)]


def test_a_fit_takes_what_it_took_last_time() -> None:
    set_parameters(
        PARAMS, {"network.tuned": "none", "network.backbone": "timm:x", "network.weights": "pretrained"}
    )
    assert estimates({"train_task@1": took(2.0)}, "train_task@1") == [Cost(2.0, False)]


def test_a_training_is_estimated_from_the_nearest_by_epochs_and_extractors() -> None:
    set_parameters(PARAMS, {"train.incremental.epochs": 10})
    (second,) = estimates({"train_task@1": took(60.0, epochs=40)}, "train_task@2")
    assert second.estimated and second.seconds == pytest.approx(60 * 10 / 40 * 4 / 3)
    # Other epochs than last time; and the nearest step counts.
    times = {"train_task@1": took(60.0, epochs=40), "train_task@2": took(5.0, epochs=5)}
    second, third = estimates(times, "train_task@2", "train_task@3")
    assert second == Cost(10.0) and third.seconds == pytest.approx(10 * 5 / 4)
    set_parameters(PARAMS, {"network.expansion": False})
    (second,) = estimates({"train_task@1": took(60.0, epochs=40)}, "train_task@2")
    assert second.seconds == pytest.approx(60 * 10 / 40)


def test_of_what_never_ran_nothing_is_known_and_an_unused_step_takes_no_time() -> None:
    stages = ["evaluate@1", "train_task@1", "train_task@5"]
    assert estimates({}, *stages[:2]) == [Cost(None), Cost(None)]
    (unused,) = estimates({}, stages[2])
    assert unused.seconds == pytest.approx(0, abs=0.2)
    times = {"train_task@1": took(60.0, epochs=40)}
    assert estimate(["train_task@2"], load_settings(), [], times) == {"train_task@2": Cost(None)}


def test_times_of_other_images_or_networks_tell_nothing() -> None:
    ((_, values),) = read_rows([])
    depths = {"train_task@1": values["network"]["depth"], "train_task@2": 8}
    ran = {name: Stage({"network.depth": depth}, {}, {}, set(), set()) for name, depth in depths.items()}
    ran["download"] = Stage({"dataset": {**values["dataset"], "path": "elsewhere"}}, {}, {}, set(), set())
    times = {name: took(1.0) for name in (*ran, "evaluate@1", "evaluate@2")}
    known = comparable(times, Workspace(ran, {}, True, None), values)
    assert known.keys() == {"download", "train_task@1", "evaluate@1"}
    values["dataset"]["image_side"] = 64
    assert not comparable(times, Workspace(ran, {}, True, None), values)


def test_a_run_in_words() -> None:
    assert describe_run({}) == "`dvc repro` would run nothing"
    costs = {"split": Cost(None), "train_task@1": Cost(65.04, False)}
    lines = [
        "`dvc repro` would run 2 stages:",
        "",
        "stage         seconds",
        "------------  -------",
        "split               -",
        "train_task@1     65.0",
        "",
        "1 min 5 s in all, by what each took last time, and 1 stage of which nothing is known here",
    ]
    assert describe_run(costs).splitlines() == lines
    costs["train_task@1"] = Cost(65.04)
    said = describe_run(costs).splitlines()
    assert said[5] == "train_task@1  about 65.0"
    assert said[7] == ("about 1 min 5 s in all, an estimate, and 1 stage of which nothing is known here")
    del costs["train_task@1"]
    assert describe_run(costs).splitlines()[-1] == "1 stage of which nothing is known here"


ROWS = [
    Row(["memory.budget=5"], 2, {"train_task@1": Cost(7200.0, False), "build_memory@1": Cost(2.0, False)}),
    Row(["memory.budget=6"], 2, {"build_memory@1": Cost(2.0, False)}),
]


def test_a_sweep_in_words() -> None:
    assert describe_sweep(ROWS).splitlines() == [
        "2 rows; a stage that two have in common runs once, and counts for the first:",
        "",
        "settings         stages  of its own  seconds",
        "---------------  ------  ----------  -------",
        "memory.budget=5       2           2   7202.0",
        "memory.budget=6       2           1      2.0",
        "",
        "2 h 0 min in all, by what each took last time",
    ]


def test_a_plan_for_programs() -> None:
    memory = {"stage": "build_memory@1", "seconds": 2.0, "estimated": False}
    both = json.loads(dump_json(ROWS))
    assert both["rows"][1] == {"settings": ["memory.budget=6"], "stages": [memory]}
    split = {"stage": "split", "seconds": None, "estimated": True}
    assert json.loads(dump_json([Row([], 1, {"split": Cost(None)})])) == {"stages": [split]}
