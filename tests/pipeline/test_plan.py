"""`der plan`: which stages a change reaches, what rows of a sweep have in common, what all of it takes."""

import re
from pathlib import Path

import pytest

from der.core.cost import StageTime
from der.core.errors import UserError
from der.core.sealed import sealed_directory
from der.pipeline.expanded_graph import expand_graph, producers
from der.pipeline.lockfile import Ran
from der.pipeline.overrides import apply_row, expand_rows
from der.pipeline.params import read_text, value_at, write_side
from der.pipeline.paths import PARAMS
from der.pipeline.plan import Identities, Workspace, plan_row, runs_for
from der.pipeline.plan_table import describe_run, describe_sweep
from der.pipeline.steps import write_classes
from der.settings.yaml import parse_yaml
from tests.pipeline.clones import make_clone

STEPS = 4


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_clone(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def workspace() -> Workspace:
    """As after a run of the digits: all is there, by the parameters of params.yaml."""
    graph = expand_graph()
    parameters = parse_yaml(read_text(), PARAMS)
    ran: Ran = {name: {key: value_at(parameters, key) for key in node.params} for name, node in graph.items()}
    steps = [["0", "1", "2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]]
    for step in range(1, STEPS + 1):
        for split in ("train", "test"):
            with sealed_directory(Path("data/tasks", str(step), split)) as directory:
                write_classes(directory, steps[:step])
    write_side(None)
    return Workspace(graph, ran, set(), set())


def plan(workspace: Workspace, *settings: str) -> Identities:
    return plan_row(workspace, apply_row(settings), rewritten=bool(settings))


def of_steps(first: int, *stages: str) -> list[str]:
    return [f"{stage}@{step}" for step in range(first, STEPS + 1) for stage in stages]


EVERY = ("train_task", "build_memory", "evaluate")
CASES: dict[str, tuple[list[str], list[str]]] = {
    "nothing": ([], []),
    "what is so already": (["train.seed=0"], ["check"]),  # DVC writes the file all the same
    "memory": (
        ["memory.budget=50"],
        ["check", "build_memory@1", "evaluate@1", *of_steps(2, *EVERY), "summarize", "report"],
    ),
    "later steps": (
        ["train.incremental.momentum=0.5"],
        ["check", *of_steps(2, *EVERY), "summarize", "report"],
    ),
    "labels of groups": (
        ["evaluate.group_labels=3"],
        ["check", *of_steps(1, "evaluate"), "summarize", "report"],
    ),
    "the last step's classes": (
        ["protocol.steps=[['0','1','2','3'],['4','5'],['6','7'],['9','8']]"],
        ["check", "split", *of_steps(4, *EVERY), "summarize", "report"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_change_reaches_what_depends_on_it(name: str, workspace: Workspace) -> None:
    settings, expected = CASES[name]
    assert sorted(plan(workspace, *settings)) == sorted(expected)


def test_code_reaches_the_stages_that_run_it(workspace: Workspace) -> None:
    found = plan(workspace._replace(new_code={*of_steps(1, "evaluate")}))
    assert sorted(found) == sorted([*of_steps(1, "evaluate"), "summarize", "report"])


def test_what_changed_outside_reaches_all(workspace: Workspace) -> None:
    found = plan(workspace._replace(changed={"download"}))
    assert set(found) == {*workspace.graph} - {"check", "initialize"}


@pytest.mark.parametrize(
    ("images", "first"), [({"0"}, 1), ({"5"}, 2), ({"9", "8"}, 4), ({"gone"}, 5), (set(), None)]
)
def test_images_reach_the_steps_of_their_classes(
    images: set[str], first: int | None, workspace: Workspace
) -> None:
    found = plan(workspace._replace(changed={"download"}, images=images))
    trained = [] if first is None else of_steps(first, *EVERY)
    after = [] if first is None else ["split", "summarize", "report"]
    assert sorted(found) == sorted(["download", *trained, *after])


@pytest.mark.parametrize(("weights", "reaches"), [("null", False), ("pretrained", False), ("a.pth", True)])
def test_a_folder_of_weights_reaches_those_that_start_from_a_file_of_it(
    weights: str, reaches: bool, workspace: Workspace
) -> None:
    settings = [f"network.weights={weights}", "network.backbone=timm:resnet18", "dataset.image_side=32"]
    parameters = apply_row(settings)
    ran = {
        name: {key: value_at(parameters, key) for key in node.params}
        for name, node in workspace.graph.items()
    }
    found = plan_row(workspace._replace(ran=ran, changed={"initialize"}), parameters, rewritten=False)
    assert ("train_task@1" in found) == reaches and "initialize" in found


@pytest.mark.parametrize(
    ("stage", "changes", "runs"),
    [
        ("evaluate@1", [{"changed deps": {"params.yaml": {"memory.budget": "new"}}}], True),
        ("evaluate@1", [{"changed deps": {"params.yaml": {"memory.budget": "modified"}}}], False),
        ("evaluate@1", [{"changed outs": {"metrics/steps/1": "deleted"}}], False),  # restored
        ("evaluate@1", [{"changed outs": {"metrics/steps/1": "not in cache"}}], True),
        ("summarize", [{"changed outs": {"metrics/summary.json": "modified"}}], True),  # as uncached
        ("check", [{"changed outs": {"data/fingerprints": "modified"}}], True),
        ("check", [{"changed deps": {"src": "modified"}}], True),
        ("train_task@1", [{"changed deps": {"data/memory/0": "modified"}}], False),
        ("split", ["changed command"], True),
    ],
)
def test_what_dvc_status_says_of_a_stage(
    stage: str, changes: list[object], runs: bool, workspace: Workspace
) -> None:
    assert runs_for(stage, changes, workspace.graph, {"metrics/summary.json"}) == runs


def test_stages_come_after_those_that_they_depend_on(workspace: Workspace) -> None:
    found = [*plan(workspace._replace(changed={"download"}))]
    for place, stage in enumerate(found):
        needed = {one for dep in workspace.graph[stage].deps for one in producers(dep, workspace.graph)}
        assert needed.isdisjoint(found[place:])


def test_rows_have_in_common_what_they_compute_alike(workspace: Workspace) -> None:
    one = plan(workspace, "train.seed=1", "memory.budget=50")
    other = plan(workspace, "train.seed=1", "memory.budget=60")
    assert set(one.values()) & set(other.values()) == {one["train_task@1"]}
    assert set(one) == set(other)


def test_rows_of_other_protocols_have_their_first_step_in_common(workspace: Workspace) -> None:
    one = plan(workspace, "train.seed=1", "protocol.later_classes=3")
    other = plan(workspace, "train.seed=1", "protocol.later_classes=2")
    alike = {stage for stage in one if one[stage] == other.get(stage)}
    assert alike == {"train_task@1", "build_memory@1", "evaluate@1"}


def test_what_no_run_can_have(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"^protocol: 7 steps, but chain.yaml holds 4; run `der chain 7`$"):
        plan(workspace, "protocol.later_classes=1")
    with pytest.raises(UserError, match=r"^params.yaml: memory.budget"):
        plan(workspace, "memory.budget=-1")


def test_rows_are_those_of_dvc() -> None:
    assert expand_rows(["train.seed=1,2", "memory.budget=5,6"]) == [
        ["train.seed=1", "memory.budget=5"],
        ["train.seed=1", "memory.budget=6"],
        ["train.seed=2", "memory.budget=5"],
        ["train.seed=2", "memory.budget=6"],
    ]
    assert expand_rows([]) == [[]]


@pytest.mark.parametrize("word", ["train.seed", "=1", "train..seed=1", "nothing.such=1"])
def test_what_dvc_cannot_read(word: str) -> None:
    before = read_text()
    message = rf"^-S {re.escape(word)}: not understood \(.+\); write KEY=VALUE, with a key of params.yaml$"
    with pytest.raises(UserError, match=message):
        [apply_row(row) for row in expand_rows([word])]
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
