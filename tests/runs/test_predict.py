"""`der predict` on a finished pipeline's test images says what evaluate measured."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from der.data.arrays import read_classes
from tests.runs.lab import Pipeline

LAST = 2  # step


def test_accuracy_is_that_of_evaluate_wherever_the_checkpoint_lies(base: Pipeline, tmp_path: Path) -> None:
    steps = json.loads((base.root / f"data/tasks/{LAST}/test/classes.json").read_text())["steps"]
    names = [name for step in steps for name in step]
    tests = read_classes(base.root / f"data/tasks/{LAST}/test", names)
    for name, images in zip(names, tests, strict=True):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number, pixels in enumerate(images):
            Image.fromarray(np.array(pixels[..., 0])).save(tmp_path / "images" / name / f"{number}.png")
    shutil.copytree(base.root / f"data/checkpoints/{LAST}", tmp_path / "checkpoint")

    words = ("predict", str(tmp_path / "checkpoint"), str(tmp_path / "images"), "--top", "1", "--csv")
    printed = base.succeed("python", "-m", "der", *words, PYTHONPATH="src")
    rows = list(csv.DictReader(io.StringIO(printed)))
    right = [Path(row["picture"]).parent.name == row["class_1"] for row in rows]
    metrics = json.loads((base.root / f"metrics/steps/{LAST}/metrics.json").read_text())
    assert len(rows) == metrics["test_images"]
    assert 100 * float(np.mean(right)) == metrics["top1"]
