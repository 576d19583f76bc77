"""What a stage really executes is among what its fingerprint counts."""

import json
from pathlib import Path

import pytest

from der.pipeline.fingerprint import Code
from stages.check import list_fingerprinted
from tests.runs import executed
from tests.runs.lab import make_pipeline

pytestmark = pytest.mark.slow
HARNESS = "stages.__main__"  # which runs the stages where DVC does not


def test_every_definition_that_runs_is_reached(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "pipeline")
    pipeline.edit(train__incremental__rebalancing="classifier_learning", train__precision="bfloat16")
    found = tmp_path / "found.json"
    pipeline.succeed("python", executed.__file__, str(found))
    by_stage = json.loads(found.read_text(encoding="utf-8"))
    assert set(by_stage) == set(list_fingerprinted())
    for stage, modules in by_stage.items():
        reached = Code({}, pipeline.root).reach(f"stages.{stage}")
        missed = {
            name: set(names) - reached.get(name, set()) for name, names in modules.items() if name != HARNESS
        }
        assert not any(missed.values()), (stage, missed)
    assert "train_step" in {name for names in by_stage["train_task"].values() for name in names}
