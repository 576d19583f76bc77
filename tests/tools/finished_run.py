"""What a finished run of the digits leaves, as far as a record looks at it, without any training."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from der.core.files import seal, write_json
from der.data.arrays import class_file
from der.data.protocol import plan_steps
from der.evaluation.results import METRICS, StepMetrics
from der.model.checkpoint import save_empty_checkpoint
from der.pipeline.presets import load_settings
from der.pipeline.project import RAW, SUMMARY, chain_length, checkpoint, evaluation, mark_unused
from der.settings.sections import SPLITS, to_values
from der.summary.series import summarise


def metrics_of(step: int, classes: int) -> StepMetrics:
    """Metrics of a step: top-1 falls by one point a step, from 89."""
    top1 = 90.0 - step
    per_step = {str(one): top1 + one for one in range(1, step + 1)}
    breakdown: Any = {"top1": top1, "top5": 99.0, "old": None if step == 1 else top1 - 1, "new": top1 + 1}
    breakdown |= {"per_step": per_step, "per_group": {}, "per_class": {}}
    sizes = dict.fromkeys(("parameters", "parameters_trained", "checkpoint_bytes", "memory_bytes"), 1000)
    return {
        **breakdown,
        **sizes,
        "step": step,
        "classes": classes,
        "test_images": 10 * classes,
        "nme": breakdown,
        "memory_images": 200,
        "gamma": None if step == 1 else 1 - step / 10,
    }


def finish(*classes: int) -> None:
    """Leave a run with the parameters of params.yaml and ``classes`` seen after each step."""
    steps = [metrics_of(step, count) for step, count in enumerate(classes, start=1)]
    for metrics in steps:
        put_json(evaluation(metrics["step"]) / METRICS, metrics)
    for unused in range(len(steps) + 1, chain_length() + 1):
        mark_unused("evaluate", unused, evaluation(unused))
    write_json(SUMMARY, summarise(steps))
    settings, last = load_settings(), len(classes)
    metadata = {
        "network": to_values(settings.network),
        "recipes": [to_values(settings.train.recipe(step)) for step in range(1, last + 1)],
        "steps": plan_steps([*"0123456789"], settings.protocol),
    }
    save_empty_checkpoint(checkpoint(0))
    put_json(checkpoint(last) / "network.json", metadata)


def put_json(path: Path, content: Any) -> None:
    """Write a file of a sealed directory."""
    write_json(path, content)
    seal(path.parent, {})


def write_raw(pixel: int = 0, images: int = 2) -> None:
    """Fill data/raw with two images of noise for every class and split, of the nine with ``images``."""
    shutil.rmtree(RAW, ignore_errors=True)
    for index, split in enumerate(SPLITS):
        (RAW / split).mkdir(parents=True)
        for label in range(10):
            noise = np.random.RandomState([index, label]).randint(0, 256, (2, 8, 8, 1)).astype(np.uint8)
            noise[0, 0, 0] ^= pixel
            np.save(RAW / split / class_file(str(label)), noise[:images] if label == 9 else noise)
        seal(RAW / split, {})
