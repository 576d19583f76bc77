"""The files are a function of parameters, data and code, not of place, moment or who runs the stages."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import der
from der.core.files import read_json
from der.data.arrays import read_classes
from der.evaluation.results import METRICS
from der.pipeline.project import read_task
from der.train.convex import fit_classifier
from tests.runs.lab import CLASSES, RESULTS, Pipeline, Repro, digests, make_pipeline
from tests.runs.pages import blocks

STAGES, COMMIT, LATER, PAGE = blocks("docs/pipeline.md", "Without DVC")
STEPS, DEFAULT_STEPS = 2, 4


def test_all_stages_without_dvc_at_another_place_then_taken_over(
    base: Pipeline, forks: Path | None, tmp_path: Path
) -> None:
    expected = base.results()
    assert all(any(path.startswith(directory) for path in expected) for directory in RESULTS)
    pipeline = make_pipeline(tmp_path / "pipeline", forks)
    for lines in (STAGES, LATER, PAGE):
        pipeline.shell(lines)
        assert pipeline.results() == expected

    pipeline.succeed(*COMMIT.split())
    assert pipeline.succeed("dvc", "status", "--json") == "{}\n"
    assert pipeline.repro() == Repro([], [])
    locks = [yaml.safe_load((one.root / "dvc.lock").read_text()) for one in (pipeline, base)]
    assert locks[0] == locks[1]
    for path in expected:
        assert str(base.root).encode() not in (base.root / path).read_bytes(), path


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


def test_predict_is_right_as_often_as_evaluate_measured(base: Pipeline, tmp_path: Path) -> None:
    tests = base.root / f"data/tasks/{STEPS}/test"
    for number, (image, label) in enumerate(zip(*labelled(tests, list(CLASSES)), strict=True)):
        (tmp_path / "images" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(image[..., 0])).save(tmp_path / "images" / label / f"{number}.png")
    shutil.copytree(base.root / f"data/checkpoints/{STEPS}", tmp_path / "checkpoint")

    words = ("predict", str(tmp_path / "checkpoint"), str(tmp_path / "images"), "--top", "1", "--csv")
    rows = list(csv.DictReader(io.StringIO(base.der(*words))))
    right = [Path(row["picture"]).parent.name == row["class_1"] for row in rows]
    metrics = json.loads((base.root / f"metrics/steps/{STEPS}" / METRICS).read_text(encoding="utf-8"))
    assert len(rows) == metrics["test_images"]
    assert 100 * float(np.mean(right)) == metrics["top1"]


def test_the_frozen_baseline_is_of_the_first_extractor_and_the_exemplars(base: Pipeline) -> None:
    data = base.root / "data"
    first = der.load(data / "checkpoints/1", device="cpu")  # whose extractor is the first one of step 2
    images, labels = (np.load(data / f"memory/2/{name}.npy") for name in ("images", "labels"))
    exemplars = [first.transform(images[labels == label])[:, None] for label in range(len(CLASSES))]
    fitted, _ = fit_classifier(exemplars, "logistic", 0.3)
    metrics = read_json(base.root / "metrics/steps/2/metrics.json")
    right = []
    for label, name in enumerate(metrics["per_class"]):
        features = first.transform(np.load(data / f"tasks/2/test/{name}.npy"))
        right += [*((features @ fitted.weight_KP.T + fitted.bias_K).argmax(axis=1) == label)]
    assert metrics["frozen_top1"] == pytest.approx(100 * np.mean(right), abs=1e-4)
    page = (base.root / "metrics/report.html").read_text(encoding="utf-8")
    assert "logistic regression on the exemplars, with the first extractor alone" in page
