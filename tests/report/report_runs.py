"""Invented runs for tests of the page, whose numbers agree with each other."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.core.cost import StageTime
from der.data.arrays import Memory, every_row
from der.evaluation import results
from der.report.page import FinishedRun
from der.summary.series import summarise
from der.summary.verdict import baselines
from der.train.log import EpochRecord

IMAGES = 20  # test images per class
EPOCHS = 3
STEP = ("train_task", "build_memory", "evaluate")  # stages of a step
ODD_NAMES = ['<b>&"x"', "</script><script>alert(1)</script>", "two words", "Käse 猫", "%{x} $y$", "&lt;i>"]


def make_run(
    sizes: Sequence[int],
    names: Sequence[str] = (),
    *,
    exemplars: int = 2,
    side: int = 8,
    channels: int = 1,
    right: float = 0.6,
    phases: Sequence[str] = ("representation",),
    epochs: int = EPOCHS,
    seed: int = 0,
) -> FinishedRun:
    """A run that recognises the share ``right`` of images; ``names`` are those of the first classes."""
    rng = np.random.default_rng(seed)
    classes, shape = sum(sizes), (side, side, channels)
    names = [*names, *(f"class {label}" for label in range(len(names), classes))]
    tests = [draw_images(rng, IMAGES, shape) for _ in range(classes)]
    evaluated = [
        _evaluate(step, list(sizes[:step]), names, tests, right, rng) for step in range(1, len(sizes) + 1)
    ]
    steps = [metrics for metrics, *_ in evaluated]
    logs = [_log(step, phases if step > 1 else phases[:1], epochs) for step in range(1, len(sizes) + 1)]
    memory = _memory(rng, classes, exemplars, shape)
    seen = list(accumulate(sizes))
    return FinishedRun(
        summary=summarise(steps),
        steps=steps,
        confusions=[counts for _, counts, _, _ in evaluated],
        names=names,
        logs=logs,
        memory=memory,
        exemplars=[np.full(count, exemplars * classes // count) for count in seen],
        predictions=evaluated[-1][2],
        mistakes=[mistakes for *_, mistakes in evaluated],
        published=[],
        joint=None,
        references=baselines([np.full(count, 20) for count in seen], [50.0] * len(seen)),
        parameters={"dataset": {"source": "folder", "seed": 0}, "train": {"base": {"milestones": [1, 2]}}},
        source="folder",
        identity="0123456789abcdef" * 4,
        preset="digits",
        differences=[],
        seed=0,
        revision=None,
        stages=[
            *("download", "split", "initialize"),
            *(f"{stage}@{step}" for step in range(1, len(sizes) + 1) for stage in STEP),
            "summarize",
        ],
        times={},
        digest="fedcba9876543210" * 4,
    )


def _memory(rng: np.random.Generator, classes: int, exemplars: int, shape: tuple[int, int, int]) -> Memory:
    labels = np.repeat(np.arange(classes), exemplars)
    images = every_row([draw_images(rng, len(labels), shape)])
    return Memory(images, labels, np.zeros((classes, 4), np.float32))


def draw_images(rng: np.random.Generator, count: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Images of noise, (count, *shape)."""
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def without_mistakes(run: FinishedRun) -> FinishedRun:
    """The same, had every test image been recognised at every step."""
    counts = [IMAGES * np.eye(len(one), dtype=np.int64) for one in run.confusions]
    mistakes = [results.Mistakes(one.images[:0], []) for one in run.mistakes]
    return replace(run, confusions=counts, mistakes=mistakes)


def with_times(run: FinishedRun, computed_from: int = 1) -> FinishedRun:
    """The same with seconds; steps before ``computed_from`` came from the cache."""
    stages = ["download", "split", "initialize"]
    times = {
        stage: StageTime(2.0, 1, None, "A processor (cpu)", None, computed_from == 1) for stage in stages
    }
    for step in range(1, len(run.steps) + 1):
        computed = step >= computed_from
        for stage, seconds in (("train_task", 30.0 * step), ("build_memory", 3.0), ("evaluate", 2.0 + step)):
            times[f"{stage}@{step}"] = StageTime(seconds, 1, 3, "A processor (cpu)", "2.9.1", computed)
    times["summarize"] = StageTime(3.5, 1, None, "A processor (cpu)", None, True)
    return replace(run, times=times)


def _log(step: int, phases: Sequence[str], epochs: int) -> list[EpochRecord]:
    return [
        EpochRecord(
            phase,
            epoch,
            0.1 if epoch <= epochs / 2 else 0.01,
            3 / epoch / step,
            0.5 / epoch if step > 1 else 0.0,
            100 - 50 / epoch,
        )
        for phase in phases
        for epoch in range(1, epochs + 1)
    ]


def _evaluate(
    step: int,
    sizes: list[int],
    names: list[str],
    tests: Sequence[NDArray[np.uint8]],
    right: float,
    rng: np.random.Generator,
) -> tuple[results.StepMetrics, NDArray[np.int64], results.Predictions, results.Mistakes]:
    """Metrics, confusion, predictions and mistakes after a step."""
    seen = sum(sizes)
    labels = np.repeat(np.arange(seen), IMAGES)
    hit = rng.uniform(size=len(labels)) < right
    guesses = np.where(hit, labels, rng.integers(0, seen, len(labels)))
    confidence = rng.uniform(0.3, 1, len(labels)).astype(np.float32)
    predictions = results.Predictions(guesses.astype(np.int32), confidence)
    cohorts = [names[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
    ranks = (guesses != labels).astype(np.int64)
    measures: dict[str, Any] = {
        "step": step,
        "classes": seen,
        "test_images": len(labels),
        **results.breakdown(ranks, labels, cohorts, 10),
        "nme": results.breakdown(ranks, labels, cohorts, 10),
        "parameters": 463504 * step,
        "parameters_trained": 463504,
        "checkpoint_bytes": 1_900_000 * step,
        "memory_images": 2 * seen,
        "memory_bytes": 70_000,
        "gamma": None if step == 1 else 0.123456,
    }
    side = tests[0].shape[1]
    entries = results.find_mistakes(predictions, labels, names, results.most_mistakes(side * side))
    counts = results.confusion_matrix(labels, predictions.predicted, seen)
    return results.StepMetrics(**measures), counts, predictions, results.with_images(entries, tests[:seen])  # type: ignore[typeddict-item]
