"""What a finished run of a preset leaves, as far as a record looks at it, without any training."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from der.core.sealed import seal
from der.core.serialization import write_json
from der.data.class_arrays import class_file
from der.data.identity import identify
from der.data.protocol import plan_steps
from der.data.splits import SPLITS
from der.evaluation.metrics import METRICS, Breakdown, StepMetrics
from der.model.checkpoint import save_empty_checkpoint
from der.pipeline.chain import chain_length
from der.pipeline.images import IDENTITIES
from der.pipeline.markers import mark_unused
from der.pipeline.paths import RAW, SUMMARY, checkpoint, evaluation
from der.pipeline.presets import load_order
from der.pipeline.settings import load_settings
from der.settings.experiment import Settings
from der.settings.section import to_values
from der.summary.series import summarise


def class_names(settings: Settings) -> list[str]:
    """All classes of the data set in alphabetical order."""
    if settings.dataset.image_side == 8:
        return [str(digit) for digit in range(10)]
    return sorted(load_order("podnet_1"))


def breakdown(step: int) -> Breakdown:
    top1 = 90.0 - step
    return {
        "top1": top1,
        "top5": 99.0,
        "old": None if step == 1 else top1 - 1,
        "new": top1 + 1,
        "per_step": {str(one): top1 + one for one in range(1, step + 1)},
        "per_group": {},
        "per_class": {},
    }


def metrics_of(step: int, classes: int) -> StepMetrics:
    """Metrics of a step: top-1 falls by one point a step, from 89."""
    return {
        **breakdown(step),
        "step": step,
        "classes": classes,
        "test_images": 10 * classes,
        "nme": breakdown(step),
        "parameters": 1000 * step,
        "parameters_trained": 1000,
        "checkpoint_bytes": 1,
        "memory_images": 200,
        "memory_bytes": 1,
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
        "steps": plan_steps(class_names(settings), settings.protocol),
    }
    save_empty_checkpoint(checkpoint(0))
    put_json(checkpoint(last) / "network.json", metadata)


def put_json(path: Path, content: Any) -> None:
    """Write a file of a sealed directory."""
    write_json(path, content)
    seal(path.parent, {})


def write_raw() -> None:
    """Fill data/raw with two images for every class and split, the same for equal settings."""
    settings = load_settings()
    shutil.rmtree(RAW, ignore_errors=True)
    side, channels = settings.dataset.image_side, settings.dataset.channels
    for index, split in enumerate(SPLITS):
        (RAW / split).mkdir(parents=True)
        for name in class_names(settings):
            draw = np.random.RandomState([index, *name.encode()])
            images = draw.randint(0, 256, (2, side, side, channels)).astype(np.uint8)
            np.save(RAW / split / class_file(name), images)
        seal(RAW / split, {})


def know_images(*keys: str) -> None:
    """Have the images in data/raw be those that presets of this source and these parameters mean."""
    dataset = to_values(load_settings().dataset)
    entry: dict[str, Any] = {
        "dataset": {key: dataset[key] for key in ("source", "image_side", "channels", *keys)}
    }
    IDENTITIES.write_text(json.dumps([entry | {"sha256": identify(RAW).sha256}]), encoding="utf-8")


def change_array(path: Path, change: Any) -> None:
    """Replace the array in a file of a sealed directory by ``change`` of it."""
    np.save(path, change(np.load(path)))
    seal(path.parent, {})
