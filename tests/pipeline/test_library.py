"""The library and the stages are one program: the same data gives the same files."""

import json
from pathlib import Path

import numpy as np

import der
from der.data.class_arrays import read_classes
from der.evaluation.metrics import METRICS
from der.project.tasks import read_task
from tests.pipeline.lab import Pipeline, digests

STEPS = 2


def labelled(directory: Path, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """The images that split left in ``directory``, and their labels."""
    arrays = read_classes(directory, names)
    labels = [name for name, images in zip(names, arrays, strict=True) for _ in images]
    return np.concatenate(arrays), labels


def test_the_classifier_writes_what_the_stages_write(base: Pipeline, tmp_path: Path) -> None:
    model = der.DERClassifier(der.read_settings(base.root / "params.yaml"), device="cpu")
    for step in range(1, STEPS + 1):
        task = base.root / f"data/tasks/{step}"
        new = read_task(task / "train", step)[-1]
        model.partial_fit(*labelled(task / "train", new), order=new)
        model.save(tmp_path / str(step))
        for kind, stage in (("checkpoint", "checkpoints"), ("memory", "memory")):
            ours, theirs = tmp_path / str(step) / kind, base.root / f"data/{stage}/{step}"
            assert digests(ours) == digests(theirs)
        metrics = model.evaluate(*labelled(task / "test", model.classes_.tolist()))
        assert metrics == json.loads(
            (base.root / f"metrics/steps/{step}" / METRICS).read_text(encoding="utf-8")
        )


def test_what_the_stages_left_goes_on_as_a_classifier(base: Pipeline, tmp_path: Path) -> None:
    model = der.load(base.root / "data/checkpoints/1", device="cpu")
    assert model.settings == der.read_settings(base.root / "params.yaml")
    task = base.root / "data/tasks/2/train"
    new = read_task(task, 2)[-1]
    model.partial_fit(*labelled(task, new), order=new).save(tmp_path / "model")
    assert digests(tmp_path / "model/checkpoint") == digests(base.root / "data/checkpoints/2")
