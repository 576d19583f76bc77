"""An edit and `dvc repro`: exactly the stages that the edit reaches run, and no result is stale.

The data set has four classes, the protocol steps of two and two, the chain two numbers. One edit
follows another on the same copy: each whole run costs seconds.
"""

import ast
import json
import shutil
from dataclasses import replace
from pathlib import Path

from der.pipeline.dvc import hash_output
from tests.runs.lab import PAGE, RESULTS, Digests, Pipeline, Repro, numbered

STEPS = ["T1", "B1", "E1", "T2", "B2", "E2"]
AFTER_STEP_1 = ["T2", "B2", "E2", "summarize", "report"]
FINGERPRINTS = "data/fingerprints/"


def assert_runs(pipeline: Pipeline, *stages: str, targets: tuple[str, ...] = ()) -> None:
    """`dvc repro` recomputes exactly these, after check, and restores none; `der plan` named them all."""
    planned = pipeline.plan()
    done = pipeline.repro(*targets)
    assert (done.run[0], sorted(done.run[1:]), done.restored) == ("check", sorted(numbered(*stages)), [])
    assert set(done.run) <= set(planned)


def from_scratch(pipeline: Pipeline) -> Digests:
    """The results of all stages, run anew on a pipeline's parameters, data and code."""
    fresh = replace(pipeline, root=pipeline.root.with_name("fresh"))
    shutil.copytree(pipeline.root, fresh.root, ignore=shutil.ignore_patterns(".git", ".dvc"))
    for directory in RESULTS:
        shutil.rmtree(fresh.root / directory)
    fresh.succeed("python", "-m", "stages")
    return fresh.results()


def without(results: Digests, *starts: str) -> Digests:
    """The results but those whose paths start so."""
    return {path: digest for path, digest in results.items() if not path.startswith(starts)}


def test_edits_run_what_they_reach(pipeline: Pipeline) -> None:
    measured = ("evaluate@1", "evaluate@2")
    assert pipeline.plan() == []
    pipeline.edit(network__expansion=False)
    assert_runs(pipeline, *STEPS, targets=measured)
    # Farthest from the mean instead of nearest: other exemplars.
    pipeline.rewrite("src/der/memory.py", r"where\(free, cost", "where(free, -cost")
    assert_runs(pipeline, "B1", "E1", "T2", "B2", "E2", targets=measured)
    pipeline.edit(train__incremental__learning_rate=0.05)
    assert sorted(pipeline.plan()) == sorted(["check", *numbered(*AFTER_STEP_1)])
    pipeline.edit(evaluate__group_labels=1)
    assert_runs(pipeline, "E1", *AFTER_STEP_1)
    # A step that nothing uses leaves markers. Then it comes into use: of one class, as the one before it.
    before = pipeline.results()
    pipeline.chain(3)
    assert_runs(pipeline, "split", "T3", "B3", "E3", targets=("evaluate@3",))
    assert without(before, FINGERPRINTS).items() <= pipeline.results().items()
    pipeline.edit(protocol__later_classes=1)
    assert_runs(pipeline, "split", "T2", "B2", "E2", "T3", "B3", "E3", "summarize", "report")
    assert pipeline.results() == from_scratch(pipeline)


def test_edits_without_effect_and_back_to_earlier_values(base: Pipeline, pipeline: Pipeline) -> None:
    assert pipeline.repro() == Repro([], [])
    with (pipeline.root / "params.yaml").open("a", encoding="utf-8") as stream:
        stream.write("# A remark\n")
    assert_runs(pipeline)
    # 9 // 2 and 9 // 4 exemplars per class are what they were, and so are the steps. The page shows all
    # parameters.
    pipeline.edit(memory__budget=9, protocol__steps=[["ant", "bee"], ["cat", "dog"]])
    assert_runs(pipeline, "split", "B1", "B2", "summarize", "report")
    before, after = base.results(), pipeline.results()
    assert before[PAGE] != after[PAGE] and without(before, PAGE) == without(after, PAGE)

    pipeline.edit(protocol__steps=[["ant", "bee"]])  # a step fewer, in protocol and chain
    pipeline.chain(1)
    assert_runs(pipeline, "split", "summarize", "report")
    summary = json.loads((pipeline.root / "metrics/summary.json").read_text(encoding="utf-8"))
    assert list(summary["steps"]) == ["1"]
    assert pipeline.results() == from_scratch(pipeline)

    pipeline.edit(protocol__steps=None, memory__budget=8)
    pipeline.chain(2)
    done = pipeline.repro()
    assert done.run == ["check", "report"]  # the page is no output, and in no cache
    assert sorted(done.restored) == sorted(numbered("split", "B1", "T2", "B2", "E2", "summarize"))
    assert pipeline.results() == before


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def test_deleted_outputs_are_restored(base: Pipeline, pipeline: Pipeline) -> None:
    some = ["data/checkpoints/1", "data/memory/2", "data/tasks", "metrics/training/2", "metrics/summary.json"]
    # What check leaves is in no cache of runs: it takes less time than to look there. The page is no output.
    for deleted, run, restored in (
        (some, [], ["split", "T1", "B2", "T2", "summarize"]),
        (RESULTS, ["check"], ["download", "split", "initialize", "summarize", *STEPS]),
    ):
        for name in deleted:
            remove(pipeline.root / name)
        done = pipeline.repro()
        assert (done.run, sorted(done.restored)) == (run, sorted(numbered(*restored)))
        assert without(pipeline.results(), PAGE) == without(base.results(), PAGE)
    (pipeline.root / "dvc.lock").unlink()
    planned = pipeline.plan()
    assert pipeline.repro().run == ["check", "report"] and {"check", "report"} <= set(planned)


def object_of(pipeline: Pipeline, output: str) -> Path:
    """Of DVC's cache, the object of a file, or the listing of a directory."""
    name = hash_output(pipeline.root / output)
    return pipeline.root / ".dvc/cache/files/md5" / name[:2] / name[2:]


def test_what_the_cache_has_lost_is_computed_again(base: Pipeline, pipeline: Pipeline) -> None:
    deleted = "metrics/training/1"
    for lost in (f"{deleted}/log.csv", "data/memory/2", "metrics/steps/1/metrics.json"):
        object_of(pipeline, lost).unlink()
    remove(pipeline.root / deleted)
    planned = pipeline.plan()  # with what depends on them: DVC stops where it finds the same bytes
    done = pipeline.repro()
    assert sorted(done.run) == numbered("B2", "E1", "T1") and done.restored == []
    assert set(done.run) <= set(planned)
    assert pipeline.results() == base.results()


def test_code_runs_the_stages_that_use_it(base: Pipeline, pipeline: Pipeline) -> None:
    before = base.results()
    # A comment, a docstring, another layout and a module that nothing uses run nothing.
    pipeline.add_code("src/der/model/network.py", "stages/train_task.py", line="# A remark")
    pipeline.rewrite("src/der/memory.py", '"""[A-Z]', '"""Once more: ')
    engine = pipeline.root / "src/der/train/engine.py"
    engine.write_text(ast.unparse(ast.parse(engine.read_text(encoding="utf-8"))), encoding="utf-8")
    engine.with_name("unused.py").write_text("from der.train import engine\n", encoding="utf-8")
    assert_runs(pipeline)
    assert pipeline.results() == before
    assert pipeline.repro() == Repro([], [])

    # A stage alone, which check has not read the code for, is refused.
    pipeline.add_code("src/der/train/objective.py")
    lock = (pipeline.root / "dvc.lock").read_bytes()
    done = pipeline.command("dvc", "repro", "--force", "--single-item", "train_task@1")
    assert done.returncode != 0 and (
        "error: train_task: its code has been edited since stage check read it; run `dvc repro`, without "
        "--single-item\n" in done.stderr
    )
    assert (pipeline.root / "dvc.lock").read_bytes() == lock

    # Other code with the same results runs the stages that use it, and nothing after them.
    pipeline.add_code("stages/split.py")
    pipeline.rewrite("src/der/report/page/page.css", r"\A", "/* A remark */\n")
    assert_runs(pipeline, "split", "T1", "T2", "report")
    pipeline.add_code("src/der/data/sources/registry.py", "src/der/memory.py", "stages/evaluate.py")
    # Of presets, only what shows published results.
    pipeline.rewrite("src/der/presets/notebook.yaml", "later_classes: 25", "later_classes: 5")
    assert_runs(pipeline, "download", "B1", "B2", "E1", "E2", "summarize", "report")
    assert without(pipeline.results(), FINGERPRINTS, PAGE) == without(before, FINGERPRINTS, PAGE)
