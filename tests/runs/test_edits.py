"""An edit and `dvc repro`: exactly the stages that the edit reaches run, and no result is stale.

The data set has four classes, the protocol steps of two and two, the chain two numbers. One edit
follows another on the same copy: each whole run costs seconds.
"""

import ast
import json
import shutil
from pathlib import Path

from der.pipeline.dvc import hash_output
from tests.runs.lab import PAGE, RESULTS, Digests, Pipeline, Repro, numbered

STEPS = ["T1", "B1", "E1", "C1", "T2", "B2", "E2", "C2"]
FINGERPRINTS = "data/fingerprints/"


def assert_runs(pipeline: Pipeline, *stages: str, targets: tuple[str, ...] = ()) -> None:
    """`dvc repro` recomputes exactly these, after check, and restores none; `der plan` named them all."""
    planned = pipeline.plan()
    done = pipeline.repro(*targets)
    assert (done.run[0], sorted(done.run[1:]), done.restored) == ("check", sorted(numbered(*stages)), [])
    assert set(done.run) <= set(planned)


def without(results: Digests, *starts: str) -> Digests:
    """The results but those whose paths start so."""
    return {path: digest for path, digest in results.items() if not path.startswith(starts)}


def test_edits_run_what_they_reach(pipeline: Pipeline) -> None:
    # Farthest from the mean instead of nearest: other exemplars.
    pipeline.rewrite("src/der/memory.py", r"where\(free, cost", "where(free, -cost")
    assert_runs(pipeline, "B1", "E1", "T2", "B2", "E2", targets=("evaluate@1", "evaluate@2"))
    before = pipeline.results()
    # A step more: of one class, as the one before it.
    pipeline.chain(3)
    pipeline.edit(protocol__later_classes=1)
    markers = "C1", "C2", "C3"  # of compress, which is off; the first since the exemplars are others
    once = "split", "features", "summarize", "report"
    assert_runs(pipeline, *once, "T2", "B2", "E2", "T3", "B3", "E3", *markers)
    assert pipeline.results() == pipeline.from_scratch()
    kept = ("data/checkpoints/1/", "data/memory/1/", "metrics/steps/1/")
    assert all(pipeline.results()[path] == before[path] for path in before if path.startswith(kept))


def test_what_changes_nothing_runs_nothing_and_what_is_taken_back_is_restored(
    base: Pipeline, pipeline: Pipeline
) -> None:
    before = base.results()
    # A remark, a docstring, another layout and a module that nothing uses run nothing.
    pipeline.add_code("params.yaml", "src/der/model/network.py", "stages/train_task.py", line="# A remark")
    pipeline.rewrite("src/der/memory.py", '"""[A-Z]', '"""Once more: ')
    engine = pipeline.root / "src/der/train/engine.py"
    engine.write_text(ast.unparse(ast.parse(engine.read_text(encoding="utf-8"))), encoding="utf-8")
    engine.with_name("unused.py").write_text("from der.train import engine\n", encoding="utf-8")
    assert_runs(pipeline)
    assert pipeline.results() == before
    assert pipeline.plan() == [] and pipeline.repro() == Repro([], [])

    # 9 // 2 and 9 // 4 exemplars per class are what they were, and so are the steps. The page shows all
    # parameters.
    pipeline.edit(memory__budget=9, protocol__steps=[["ant", "bee"], ["cat", "dog"]])
    assert_runs(pipeline, "split", "B1", "B2", "summarize", "report")
    after = pipeline.results()
    assert before[PAGE] != after[PAGE] and without(before, PAGE) == without(after, PAGE)
    pipeline.edit(protocol__steps=[["ant", "bee"]])  # a step fewer, in protocol and chain
    pipeline.chain(1)
    assert_runs(pipeline, "split", "features", "summarize", "report")
    summary = json.loads((pipeline.root / "metrics/summary.json").read_text(encoding="utf-8"))
    assert list(summary["steps"]) == ["1"]

    pipeline.edit(protocol__steps=None, memory__budget=8)
    pipeline.chain(2)
    done = pipeline.repro()
    assert done.run == ["check", "report"]  # the page is no output, and in no cache
    assert sorted(done.restored) == sorted(
        numbered("split", "features", "B1", "T2", "B2", "E2", "C2", "summarize")
    )
    assert pipeline.results() == before


def test_other_code_with_the_same_results_runs_stages_that_use_it(base: Pipeline, pipeline: Pipeline) -> None:
    # A stage alone, which check has not read the code for, is refused.
    pipeline.add_code("src/der/train/objective.py")
    lock = (pipeline.root / "dvc.lock").read_bytes()
    done = pipeline.command("dvc", "repro", "--force", "--single-item", "train_task@1")
    assert done.returncode != 0 and (
        "error: train_task: its code has been edited since stage check read it; run `dvc repro`, without "
        "--single-item\n" in done.stderr
    )
    assert (pipeline.root / "dvc.lock").read_bytes() == lock

    pipeline.add_code("stages/split.py")
    pipeline.rewrite("src/der/report/page/page.css", r"\A", "/* A remark */\n")
    assert_runs(pipeline, "split", "T1", "T2", "C1", "C2", "report")
    assert without(pipeline.results(), FINGERPRINTS, PAGE) == without(base.results(), FINGERPRINTS, PAGE)


def object_of(pipeline: Pipeline, output: str) -> Path:
    """Of DVC's cache, the object of a file, or the listing of a directory."""
    name = hash_output(pipeline.root / output)
    return pipeline.root / ".dvc/cache/files/md5" / name[:2] / name[2:]


def test_deleted_outputs_are_restored_and_what_the_cache_has_lost_is_computed_again(
    base: Pipeline, pipeline: Pipeline
) -> None:
    for name in RESULTS:
        shutil.rmtree(pipeline.root / name)
    done = pipeline.repro()
    # What check leaves is in no cache of runs: it takes less time than to look there. The page is no output.
    assert done.run == ["check"]
    restored = ["download", "split", "initialize", "features", "summarize", *STEPS]
    assert sorted(done.restored) == sorted(numbered(*restored))
    assert without(pipeline.results(), PAGE) == without(base.results(), PAGE)

    deleted = "metrics/training/1"
    for lost in (f"{deleted}/log.csv", "data/memory/2", "metrics/steps/1/metrics.json"):
        object_of(pipeline, lost).unlink()
    shutil.rmtree(pipeline.root / deleted)
    planned = pipeline.plan()  # with what depends on them: DVC stops where it finds the same bytes
    done = pipeline.repro()
    assert sorted(done.run) == numbered("B2", "E1", "T1") and done.restored == []
    assert set(done.run) <= set(planned)
    (pipeline.root / "dvc.lock").unlink()
    planned = pipeline.plan()
    assert pipeline.repro().run == ["check", "report"] and {"check", "report"} <= set(planned)
    assert pipeline.results() == base.results()
