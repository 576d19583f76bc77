"""An edit and `dvc repro`: exactly the stages that the edit reaches run, and no result is stale.

The data set has four classes, the protocol steps of two and two, the chain three numbers. Number 3 is
unused: its stages only write markers. They run again when what they track changes, like any other:
build_memory@3 and evaluate@3 when their parameters or code do, train_task@3 and build_memory@3 when step
2's checkpoint or memory does. Their markers stay the same, so nothing after them runs.
"""

import ast
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from der.pipeline.dvc import find_object, hash_output
from tests.runs.lab import RESULTS, Digests, Pipeline, Repro, numbered, read_graph

REPORT = "metrics/report.html"
FINGERPRINTS = "data/fingerprints/"


class Edit(NamedTuple):
    """Parameters changed at once, the stages that run, and whether all are then run anew to compare."""

    values: dict[str, Any]
    run: list[str]
    anew: bool = False


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
    "memory.budget": Edit({"memory__budget": 6}, ["B1", "E1", *AFTER_STEP_1], anew=True),
    "train.base": Edit({"train__base__momentum": 0.5}, ALL_STEPS),
    "train.incremental": Edit({"train__incremental__learning_rate": 0.05}, AFTER_STEP_1),
    "no expansion": Edit({"network__expansion": False}, ALL_STEPS, anew=True),
    "evaluate": Edit({"evaluate__group_labels": 1}, ["E1", "E2", "E3", "summarize", "report"]),
    # Number 3 comes into use.
    "increment": Edit(
        {"protocol__later_classes": 1},
        ["split", "T2", "B2", "E2", "T3", "B3", "E3", "summarize", "report"],
        anew=True,
    ),
}
# What differs from the default in the other ablations, and the stages that it makes DVC run by itself.
ABLATIONS = {
    "masks": Edit({"train__masks": MASKS}, ["T1", "T2", "T3"]),
    "classifier learning": Edit({"train__incremental__rebalancing": "classifier_learning"}, ["T2", "T3"]),
    "no rebalancing": Edit({"train__incremental__rebalancing": "none"}, ["T2", "T3"]),
    "no auxiliary loss": Edit({"train__incremental__auxiliary_weight": 0.0}, ["T2", "T3"]),
    "random exemplars": Edit({"memory__selection": "random"}, ["B1", "B2", "B3"]),
    "head initialization": Edit({"network__head_initialization": "lecun_normal"}, ["T1", "T2", "T3"]),
    "heads not inherited": Edit({"network__inherit_head": False}, ["T1", "T2", "T3"]),
    "class order": Edit({"protocol__class_order": ["ant", "bee", "dog", "cat"]}, ["split", "summarize"]),
}

WITHOUT_EFFECT = {
    # 9 // 2 and 9 // 4 exemplars per class are what they were.
    "memory.budget": Edit({"memory__budget": 9}, ["B1", "B2", "B3", "report"]),
    "steps written out": Edit(
        {"protocol__steps": [["ant", "bee"], ["cat", "dog"]]}, ["split", "summarize", "report"]
    ),
}


def assert_runs(pipeline: Pipeline, *stages: str) -> None:
    """`dvc repro` recomputes exactly these, after check, and restores none."""
    done = pipeline.repro()
    assert (done.run[0], sorted(done.run[1:]), done.restored) == ("check", sorted(numbered(*stages)), [])


def from_scratch(pipeline: Pipeline) -> Digests:
    """The results of all stages, run anew on a pipeline's parameters, data and code."""
    fresh = replace(pipeline, root=pipeline.root.with_name("fresh"))
    shutil.copytree(pipeline.root, fresh.root, ignore=shutil.ignore_patterns(".git", ".dvc"))
    for directory in RESULTS:
        shutil.rmtree(fresh.root / directory)
    fresh.succeed("python", "-m", "stages")
    return fresh.results()


@pytest.mark.parametrize("name", EDITS)
def test_edit_runs_what_it_reaches(name: str, pipeline: Pipeline) -> None:
    values, run, anew = EDITS[name]
    pipeline.edit(**values)
    expected = {"check", *numbered(*run)}
    assert expected <= set(pipeline.plan()) <= expected | {"evaluate@3"}  # whose inputs are markers, and stay
    assert_runs(pipeline, *run)
    if anew:
        assert pipeline.results() == from_scratch(pipeline)


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablation_is_an_edit_of_the_stages_that_track_it(name: str, pipeline: Pipeline) -> None:
    values, changed, _ = ABLATIONS[name]
    pipeline.edit(**values)
    assert sorted(json.loads(pipeline.succeed("dvc", "status", "--json"))) == sorted(
        numbered("check", *changed, "report")
    )


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_edit_without_effect_runs_nothing_after(name: str, base: Pipeline, pipeline: Pipeline) -> None:
    values, run, _ = WITHOUT_EFFECT[name]
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
    assert_runs(pipeline)
    assert pipeline.repro() == Repro([], [])


def test_back_to_an_earlier_value_restores_everything(base: Pipeline, pipeline: Pipeline) -> None:
    pipeline.edit(protocol__steps=[["ant", "bee"]])
    assert_runs(pipeline, "split", "T2", "B2", "E2", "T3", "B3", "summarize", "report")
    assert pipeline.results() != base.results()
    pipeline.edit(protocol__steps=None)
    done = pipeline.repro()
    assert done.run == ["check", "report"]  # the page is no output, and in no cache
    assert sorted(done.restored) == sorted(numbered("split", "T2", "B2", "E2", "T3", "B3", "summarize"))
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


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.parametrize(
    "deleted",
    [
        ["data/checkpoints/1", "data/memory/2", "data/tasks"],
        ["metrics/steps/1", "metrics/training/2", "metrics/plots"],
        ["metrics/summary.json"],
        list(RESULTS),
    ],
    ids=["data", "metrics", "the file that git tracks", "everything"],
)
def test_deleted_output_is_restored(deleted: list[str], base: Pipeline, pipeline: Pipeline) -> None:
    for name in deleted:
        remove(pipeline.root / name)
    done = pipeline.repro()
    # What check leaves is in no cache of runs: it takes less time than to look there.
    assert done.run == (["check"] if "data/fingerprints" in deleted else [])
    producers = {
        name
        for name, stage in read_graph(pipeline).items()
        if any(out == one or out.startswith(one + "/") for out in stage.outs for one in deleted)
    }
    assert set(done.restored) == producers - set(done.run)
    expected = base.results()
    if "metrics" in deleted:  # the page is no output, which DVC would miss: `der report` makes it
        pipeline.der("report")
    assert pipeline.results() == expected


def object_of(pipeline: Pipeline, output: str, name: str | None = None) -> Path:
    """Of DVC's cache, the object of a file of an output, or of the output itself."""
    path = pipeline.root / output / (name or "")
    return find_object(pipeline.root / ".dvc/cache/files/md5", hash_output(path))


LOST = {  # what is taken from the cache, what in the workspace, and the stages that run
    "a file": (("metrics/steps/1", "metrics.json"), None, ["E1"]),
    "a listing": (("data/memory/2",), None, ["B2"]),
    "a file of what is deleted": (("metrics/training/1", "log.csv"), "metrics/training/1", ["T1"]),
}


@pytest.mark.parametrize("name", LOST)
def test_what_the_cache_has_lost_is_computed_again(name: str, base: Pipeline, pipeline: Pipeline) -> None:
    of_cache, of_workspace, run = LOST[name]
    object_of(pipeline, *of_cache).unlink()
    if of_workspace:
        remove(pipeline.root / of_workspace)
    planned = pipeline.plan()  # with what depends on them: DVC stops where it finds the same bytes
    done = pipeline.repro()
    assert done == Repro(numbered(*run), []) and set(done.run) <= set(planned)
    assert pipeline.results() == base.results()


def reformat(pipeline: Pipeline, path: str) -> None:
    """Take the comments out of a module, and lay it out in other lines."""
    file = pipeline.root / path
    file.write_text(ast.unparse(ast.parse(file.read_text(encoding="utf-8"))), encoding="utf-8")


def test_a_comment_a_docstring_layout_and_unused_code_run_nothing(base: Pipeline, pipeline: Pipeline) -> None:
    pipeline.add_code("src/der/model/network.py", "stages/train_task.py", line="# A remark")
    pipeline.add_code("src/der/train/objective.py", line="def nobody_calls_this(): ...")
    pipeline.rewrite("src/der/memory/herding.py", '"""[A-Z]', '"""Once more: ')
    reformat(pipeline, "src/der/train/engine.py")
    (pipeline.root / "src/der/train/unused.py").write_text("from der.train import engine\n", encoding="utf-8")
    assert_runs(pipeline)
    assert pipeline.results() == base.results()
    assert pipeline.repro() == Repro([], [])


def test_an_edit_of_the_page_runs_the_report(pipeline: Pipeline) -> None:
    pipeline.rewrite("src/der/report/page/page.css", r"\A", "/* A remark */\n")
    assert_runs(pipeline, "report")


def test_an_edit_of_a_preset_reaches_only_what_shows_published_results(
    base: Pipeline, pipeline: Pipeline
) -> None:
    pipeline.rewrite("src/der/presets/notebook.yaml", "later_classes: 25", "later_classes: 5")
    assert_runs(pipeline, "summarize", "report")
    assert pipeline.results() == base.results()  # a protocol that this run has not


def test_an_edit_of_herding_never_trains_the_first_step(pipeline: Pipeline) -> None:
    # Farthest from the mean instead of nearest: other exemplars.
    pipeline.rewrite("src/der/memory/herding.py", r"where\(free, cost", "where(free, -cost")
    assert_runs(pipeline, "B1", "E1", *AFTER_STEP_1)


CODE = [
    ({"src/der/data/sources/builtin.py": ["download"], "src/der/train/objective.py": ["T1", "T2", "T3"]}),
    (
        {
            "stages/split.py": ["split"],
            "src/der/memory/build.py": ["B1", "B2", "B3"],
            "stages/evaluate.py": ["E1", "E2", "E3"],
            "src/der/summary/series.py": ["summarize", "report"],
        }
    ),
    ({"src/der/report/page.py": ["report"]}),
]


@pytest.mark.parametrize("edited", CODE, ids=lambda edited: ", ".join(edited))
def test_other_code_runs_its_stages_and_nothing_after(
    edited: dict[str, list[str]], base: Pipeline, pipeline: Pipeline
) -> None:
    pipeline.add_code(*edited)
    assert_runs(pipeline, *(stage for stages in edited.values() for stage in stages))
    before, after = base.results(), pipeline.results()
    assert {path: digest for path, digest in after.items() if not path.startswith(FINGERPRINTS)} == {
        path: digest for path, digest in before.items() if not path.startswith(FINGERPRINTS)
    }


def test_a_stage_alone_after_an_edit_of_its_code_is_refused(pipeline: Pipeline) -> None:
    pipeline.add_code("src/der/train/objective.py")
    lock = (pipeline.root / "dvc.lock").read_bytes()
    done = pipeline.command("dvc", "repro", "--force", "--single-item", "train_task@1")
    assert done.returncode != 0
    assert (
        "error: train_task: its code has been edited since stage check read it; run `dvc repro`, without "
        "--single-item\n" in done.stderr
    )
    assert (pipeline.root / "dvc.lock").read_bytes() == lock
    assert_runs(pipeline, "T1", "T2", "T3")  # as told
