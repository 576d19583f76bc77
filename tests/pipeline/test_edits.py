"""An edit and `dvc repro`: exactly the stages that the edit reaches run, and no result is stale.

The data set has four classes, the protocol steps of two and two, the chain three numbers. Number 3 is
unused: its stages only write markers. They run again when what they track changes, like any other:
build_memory@3 and evaluate@3 when their parameters or code do, train_task@3 and build_memory@3 when step
2's checkpoint or memory does. Their markers stay the same, so nothing after them runs.
"""

import json
import shutil
from itertools import zip_longest
from typing import Any, NamedTuple

import pytest

from tests.pipeline.closure import import_closure, modules_below
from tests.pipeline.lab import RESULTS, Digests, Pipeline, Repro, declares, numbered, read_graph

REPORT = "metrics/report.html"


class Edit(NamedTuple):
    """Parameters changed at once, and the stages that run."""

    values: dict[str, Any]
    run: list[str]


AFTER_STEP_1 = ["T2", "B2", "E2", "T3", "B3", "summarize", "report"]
ALL_STEPS = ["T1", "B1", "E1", *AFTER_STEP_1]
MASKS = {
    "sparsity_weight": 0.5,
    "sharpness": 400.0,
    "rate_factor": 100.0,
    "start_mean": 0.2,
    "start_deviation": 0.5,
}
EDITS = {
    # 8 // 2 and 8 // 4 exemplars per class become 6 // 2 and 6 // 4. E3's inputs are markers, and stay.
    "memory.budget": Edit({"memory__budget": 6}, ["B1", "E1", *AFTER_STEP_1]),
    "train.base": Edit({"train__base__momentum": 0.5}, ALL_STEPS),
    "train.incremental": Edit({"train__incremental__learning_rate": 0.05}, AFTER_STEP_1),
    "no expansion": Edit({"network__expansion": False}, ALL_STEPS),
    "evaluate": Edit({"evaluate__group_labels": 1}, ["E1", "E2", "E3", "summarize", "report"]),
    # Number 3 comes into use.
    "increment": Edit(
        {"protocol__later_classes": 1}, ["split", "T2", "B2", "E2", "T3", "B3", "E3", "summarize", "report"]
    ),
}
# What differs from the default in the other ablations, and the stages that it makes DVC run by itself.
ABLATIONS = {
    "masks": Edit({"train__masks": MASKS}, ["T1", "T2", "T3"]),
    "classifier learning": Edit({"train__incremental__rebalancing": "classifier_learning"}, ["T2", "T3"]),
    "no rebalancing": Edit({"train__incremental__rebalancing": "none"}, ["T2", "T3"]),
    "no auxiliary loss": Edit({"train__incremental__auxiliary_weight": 0.0}, ["T2", "T3"]),
    "random exemplars": Edit({"memory__selection": "random"}, ["B1", "B2", "B3"]),
    "class order": Edit({"protocol__class_order": ["ant", "bee", "dog", "cat"]}, ["split"]),
}

WITHOUT_EFFECT = {
    # 9 // 2 and 9 // 4 exemplars per class are what they were.
    "memory.budget": Edit({"memory__budget": 9}, ["B1", "B2", "B3", "report"]),
    "steps written out": Edit({"protocol__steps": [["ant", "bee"], ["cat", "dog"]]}, ["split", "report"]),
}


def assert_runs(pipeline: Pipeline, *stages: str) -> None:
    """`dvc repro` recomputes exactly these and restores none."""
    done = pipeline.repro()
    assert (sorted(done.run), done.restored) == (sorted(numbered(*stages)), [])


def from_scratch(pipeline: Pipeline) -> Digests:
    """The results of all stages, run anew on a pipeline's parameters, data and code."""
    fresh = Pipeline(pipeline.root.with_name("fresh"))
    shutil.copytree(pipeline.root, fresh.root, ignore=shutil.ignore_patterns(".git", ".dvc"))
    for directory in RESULTS:
        shutil.rmtree(fresh.root / directory)
    fresh.succeed("python", "-m", "stages.all")
    return fresh.results()


@pytest.mark.parametrize("name", EDITS)
def test_edit_runs_what_it_reaches(name: str, pipeline: Pipeline) -> None:
    values, run = EDITS[name]
    pipeline.edit(**values)
    assert_runs(pipeline, *run)
    assert pipeline.results() == from_scratch(pipeline)


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablation_is_an_edit_of_the_stages_that_track_it(name: str, pipeline: Pipeline) -> None:
    values, changed = ABLATIONS[name]
    pipeline.edit(**values)
    assert sorted(json.loads(pipeline.succeed("dvc", "status", "--json"))) == sorted(
        numbered(*changed, "report")
    )


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_edit_without_effect_runs_nothing_after(name: str, base: Pipeline, pipeline: Pipeline) -> None:
    values, run = WITHOUT_EFFECT[name]
    pipeline.edit(**values)
    assert_runs(pipeline, *run)
    # The page shows all parameters.
    before, after = base.results(), pipeline.results()
    assert before.pop(REPORT) != after.pop(REPORT)
    assert after == before


def test_nothing_and_a_comment_run_nothing(pipeline: Pipeline) -> None:
    assert pipeline.repro() == Repro([], [])
    with (pipeline.root / "params.yaml").open("a", encoding="utf-8") as stream:
        stream.write("# A remark\n")
    assert pipeline.repro() == Repro([], [])


def test_back_to_an_earlier_value_restores_everything(base: Pipeline, pipeline: Pipeline) -> None:
    pipeline.edit(protocol__steps=[["ant", "bee"]])
    assert_runs(pipeline, "split", "T2", "B2", "E2", "T3", "B3", "summarize", "report")
    assert pipeline.results() != base.results()
    pipeline.edit(protocol__steps=None)
    done = pipeline.repro()
    assert done.run == []
    assert sorted(done.restored) == sorted(
        numbered("split", "T2", "B2", "E2", "T3", "B3", "summarize", "report")
    )
    assert pipeline.results() == base.results()


def test_longer_chain_adds_only_its_markers(base: Pipeline, pipeline: Pipeline) -> None:
    pipeline.chain(5)
    # summarize and report, because markers join the folders that they read; what they make of them stays.
    assert_runs(pipeline, "split", "T4", "B4", "E4", "T5", "B5", "E5", "summarize", "report")
    before = base.results()
    after = pipeline.results()
    assert {path: after[path] for path in before} == before


def test_shorter_protocol_and_chain_leave_no_stale_step(pipeline: Pipeline) -> None:
    pipeline.edit(protocol__steps=[["ant", "bee"]])
    pipeline.chain(1)
    assert_runs(pipeline, "split", "summarize", "report")
    summary = json.loads((pipeline.root / "metrics/summary.json").read_text(encoding="utf-8"))
    assert list(summary["steps"]) == ["1"]
    assert pipeline.results() == from_scratch(pipeline)


@pytest.mark.parametrize(
    "deleted",
    [
        ["data/checkpoints/1", "data/memory/2", "data/tasks"],
        ["metrics/steps/1.json", "metrics/training/2.csv", "metrics/plots"],
        ["metrics/summary.json"],
        list(RESULTS),
    ],
    ids=["data", "metrics", "the file that git tracks", "everything"],
)
def test_deleted_output_is_restored(deleted: list[str], base: Pipeline, pipeline: Pipeline) -> None:
    for name in deleted:
        path = pipeline.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    done = pipeline.repro()
    assert done.run == []
    producers = {
        name
        for name, stage in read_graph(pipeline).items()
        if any(out == one or out.startswith(one + "/") for out in stage.outs for one in deleted)
    }
    assert set(done.restored) == producers
    assert pipeline.results() == base.results()


@pytest.mark.parametrize(
    ("path", "run"),
    [
        ("src/der/data/sources/digits.py", ["download"]),
        ("src/der/train/losses.py", ["T1", "T2", "T3"]),
        ("src/der/memory/herding.py", ["B1", "B2", "B3", "E1", "E2", "E3"]),
        ("src/der/summary/drawing/lines.py", ["summarize"]),
        ("src/der/summary/series.py", ["summarize", "report"]),
        ("src/der/report/page.py", ["report"]),
        ("stages/split.py", ["split"]),
        ("stages/evaluate.py", ["E1", "E2", "E3"]),
    ],
)
def test_touched_module_runs_its_stages_and_nothing_after(
    path: str, run: list[str], base: Pipeline, pipeline: Pipeline
) -> None:
    pipeline.touch(path)
    assert_runs(pipeline, *run)
    assert pipeline.results() == base.results()


# What DVC says must run, and because of which dependencies, after a touch of several modules at once.
TOUCH_SCRIPT = """
import json
import sys
from pathlib import Path
from dvc.repo import Repo
repo = Repo(".")
for touched in json.loads(sys.argv[1]):
    contents = {path: Path(path).read_bytes() for path in touched}
    for path, content in contents.items():
        Path(path).write_bytes(content + b"# touched\\n")
    changes = {}
    for name, reasons in repo.status().items():
        changes[name.removeprefix("dvc.yaml:")] = [dep for one in reasons for dep in one["changed deps"]]
    print(json.dumps(changes))
    for path, content in contents.items():
        Path(path).write_bytes(content)
assert not repo.status()
"""


def test_every_touched_module_reaches_the_stages_that_import_it(pipeline: Pipeline) -> None:
    root = pipeline.root
    modules = sorted(modules_below(root, "src") | modules_below(root, "stages"))
    graph = read_graph(pipeline)
    closures = {stage.script: import_closure(root, stage.script) for stage in graph.values()}
    # At a time, one module of every directory that stands in dvc.yaml as a whole.
    whole = [dep for stage in graph.values() for dep in stage.deps if modules_below(root, dep)]
    groups: dict[str, list[str]] = {}
    for module in modules:
        groups.setdefault(next((one for one in whole if declares([one], module)), module), []).append(module)
    rounds = [list(filter(None, touched)) for touched in zip_longest(*groups.values())]
    printed = pipeline.succeed("python", "-c", TOUCH_SCRIPT, json.dumps(rounds)).splitlines()
    for touched, line in zip(rounds, printed, strict=True):
        changes = json.loads(line)
        for module in touched:
            reached = {name for name, deps in changes.items() if declares(deps, module)}
            importing = {name for name, stage in graph.items() if module in closures[stage.script]}
            assert reached == importing, module
