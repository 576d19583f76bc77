"""The library and the stages are one program: the same data gives the same files."""

import json
from pathlib import Path

import numpy as np
import pytest

import der
from der.data.arrays import read_classes
from der.evaluation.metrics import METRICS
from der.pipeline.steps import read_task
from tests.runs.lab import Pipeline, digests, make_pipeline

STEPS, DEFAULT_STEPS = 2, 4


def labelled(directory: Path, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """The images that split left in ``directory``, and their labels."""
    arrays = read_classes(directory, names)
    labels = [name for name, images in zip(names, arrays, strict=True) for _ in images]
    return np.concatenate(arrays), labels


def assert_alike(pipeline: Pipeline, steps: int, directory: Path) -> None:
    """The classifier, taught what the stages of a pipeline were, leaves their bytes in ``directory``."""
    model = der.DERClassifier(der.read_settings(pipeline.root / "params.yaml"), device="cpu")
    for step in range(1, steps + 1):
        task = pipeline.root / f"data/tasks/{step}"
        new = read_task(task / "train", step)[-1]
        model.partial_fit(*labelled(task / "train", new), order=new)
        model.save(directory / str(step))
        for kind, stage in (("checkpoint", "checkpoints"), ("memory", "memory")):
            ours, theirs = directory / str(step) / kind, pipeline.root / f"data/{stage}/{step}"
            assert digests(ours) == digests(theirs)
        metrics = model.evaluate(*labelled(task / "test", model.classes_.tolist()))
        written = pipeline.root / f"metrics/steps/{step}" / METRICS
        assert metrics == json.loads(written.read_text(encoding="utf-8"))


def test_the_classifier_writes_what_the_stages_write(base: Pipeline, tmp_path: Path) -> None:
    assert_alike(base, STEPS, tmp_path)


@pytest.mark.torture
def test_the_default_protocol(forks: Path | None, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "pipeline", forks, edits={}, length=DEFAULT_STEPS)
    assert "report" in pipeline.repro().run
    summary = json.loads((pipeline.root / "metrics/summary.json").read_text(encoding="utf-8"))
    assert len(summary["steps"]) == DEFAULT_STEPS and summary["average_top1"] > 98.5
    assert_alike(pipeline, DEFAULT_STEPS, tmp_path / "models")


def test_what_the_stages_left_goes_on_as_a_classifier(base: Pipeline, tmp_path: Path) -> None:
    model = der.load(base.root / "data/checkpoints/1", device="cpu")
    assert model.settings == der.read_settings(base.root / "params.yaml")
    task = base.root / "data/tasks/2/train"
    new = read_task(task, 2)[-1]
    model.partial_fit(*labelled(task, new), order=new).save(tmp_path / "model")
    assert digests(tmp_path / "model/checkpoint") == digests(base.root / "data/checkpoints/2")
