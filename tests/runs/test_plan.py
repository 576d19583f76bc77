"""`der plan` names every stage that `dvc repro` then runs, also after a run that ended in the middle."""

from pathlib import Path

import pytest

from tests.runs.lab import Pipeline

pytestmark = pytest.mark.slow


def assert_planned(pipeline: Pipeline, *targets: str) -> None:
    planned, ran = pipeline.plan(), pipeline.repro(*targets).run
    assert ran and set(ran) <= set(planned), sorted(set(ran) - set(planned))


def test_nothing_runs_that_was_not_planned(pipeline: Pipeline) -> None:
    assert pipeline.plan() == []
    pipeline.edit(memory__budget=6)
    assert "train_task@1" not in pipeline.plan()
    assert_planned(pipeline, "build_memory@1")  # as if it ended before step 2
    assert_planned(pipeline)
    pipeline.edit(protocol__later_classes=1)
    pipeline.chain(3)
    assert_planned(pipeline, "split")
    assert_planned(pipeline)
    assert pipeline.plan() == []
    Path(pipeline.root / "dvc.lock").unlink()
    assert_planned(pipeline)  # check and the page, for DVC restores the others
    pipeline.edit(protocol__later_classes=2)
    pipeline.rewrite("src/der/memory.py", r"where\(free, cost", "where(free, -cost")
    pipeline.rewrite("src/der/train/objective.py", r"\Z", "\nprint(end='')\n")
    assert_planned(pipeline)


def test_a_step_that_is_added_leaves_those_before(pipeline: Pipeline) -> None:
    pipeline.edit(protocol__steps=[["ant"], ["bee"]])
    pipeline.chain(2)
    pipeline.repro()
    pipeline.der("add", "cat")
    assert "train_task@2" not in pipeline.plan()
    assert_planned(pipeline)
