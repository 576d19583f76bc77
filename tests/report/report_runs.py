"""Invented runs for tests of the page."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np

from der.data.exemplars import Memory
from der.evaluation.metrics import Breakdown, StepMetrics
from der.evaluation.mistakes import Mistake, Mistakes
from der.report.finished_run import FinishedRun
from der.summary.series import summarise
from der.train.log import EpochRecord

IMAGES = 20  # test images per class
EPOCHS = 3
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
    seed: int = 0,
) -> FinishedRun:
    """A run whose numbers agree; ``names`` are those of the first classes, ``right`` the share of hits."""
    rng = np.random.default_rng(seed)
    classes = sum(sizes)
    names = [*names, *(f"class {label}" for label in range(len(names), classes))]
    steps = [_step(step, sizes[:step], names, rng) for step in range(1, len(sizes) + 1)]
    logs = [_log(step, phases if step > 1 else phases[:1]) for step in range(1, len(sizes) + 1)]
    shape = (side, side, channels)
    memory = Memory(
        rng.integers(0, 256, (classes * exemplars, *shape)).astype(np.uint8),
        np.repeat(np.arange(classes), exemplars),
        np.zeros((classes, 4), np.float32),
    )
    wrong = [Mistake(true=name, predicted=names[0], probability=0.9, number=7) for name in names[1:5]]
    mistakes = Mistakes(rng.integers(0, 256, (len(wrong), *shape)).astype(np.uint8), wrong)
    guesses = rng.multinomial(round(IMAGES * (1 - right)), np.full(classes, 1 / classes), size=classes)
    confusion = guesses + round(IMAGES * right) * np.eye(classes, dtype=np.int64)
    parameters = {"dataset": {"source": "folder", "seed": 0}, "train": {"base": {"milestones": [1, 2]}}}
    return FinishedRun(
        summarise(steps),
        steps,
        confusion.astype(np.int64),
        names,
        logs,
        memory,
        mistakes,
        [],
        parameters,
    )


def without_mistakes(run: FinishedRun) -> FinishedRun:
    """The same, had every test image been recognised."""
    counts = IMAGES * np.eye(len(run.names), dtype=np.int64)
    return replace(run, confusion=counts, mistakes=Mistakes(run.mistakes.images[:0], []))


def _log(step: int, phases: Sequence[str]) -> list[EpochRecord]:
    return [
        EpochRecord(phase, epoch, 0.1, 3 / epoch / step, 0.5, 50.0 + epoch + step / 10)
        for phase in phases
        for epoch in range(1, EPOCHS + 1)
    ]


def _step(step: int, sizes: Sequence[int], names: Sequence[str], rng: np.random.Generator) -> StepMetrics:
    seen = list(accumulate(sizes))[-1]
    measures: dict[str, Any] = {
        "step": step,
        "classes": seen,
        "test_images": IMAGES * seen,
        **_breakdown(step, names[:seen], rng),
        "nme": _breakdown(step, names[:seen], rng),
        "parameters": 463504 * step,
        "parameters_trained": 463504,
        "checkpoint_bytes": 1_900_000 * step,
        "memory_images": 2 * seen,
        "memory_bytes": 70_000,
        "gamma": None if step == 1 else 0.123456,
    }
    return StepMetrics(**measures)  # type: ignore[typeddict-item]


def _breakdown(step: int, names: Sequence[str], rng: np.random.Generator) -> Breakdown:
    accuracies = rng.uniform(40, 100, step).round(4).tolist()
    return {
        "top1": round(float(np.mean(accuracies)), 4),
        "top5": 99.0,
        "old": None if step == 1 else accuracies[0],
        "new": accuracies[-1],
        "per_step": {str(step): value for step, value in enumerate(accuracies, start=1)},
        "per_group": {"0-9": 50.0},
        "per_class": {name: float(rng.uniform(0, 100)) for name in names},
    }
