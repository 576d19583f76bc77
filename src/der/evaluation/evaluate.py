"""Evaluating one step's network on the test images of all classes seen.

N test images of a class, B of all classes in label order, H and W pixels, C channels, K classes, D features
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core import errors, files
from der.data.arrays import Memory
from der.evaluation import results
from der.model.architecture import Outputs
from der.model.checkpoint import Metadata
from der.settings.sections import EvaluateSettings
from der.train.convex import fit_classifier

MOST, SHRINKAGE = 5000, 0.3  # exemplars of which a classifier is fitted in seconds; see ``fit_classifier``


@dataclass(frozen=True)
class Evaluation:
    """The metrics, predictions and mistakes of one step's network on the test images."""

    metrics: results.StepMetrics
    confusion: NDArray[np.int64]  # (K, K), true classes down
    predictions: results.Predictions
    mistakes: results.Mistakes


def evaluate_step(
    metadata: Metadata,
    memory: Memory,
    tests: Sequence[NDArray[np.uint8]],
    outputs: Iterable[Outputs],
    settings: EvaluateSettings,
    *,
    means_KD: NDArray[np.float32] | None = None,
    exemplars: Sequence[NDArray[np.float32]] | None = None,
    checkpoint_bytes: int,
    memory_bytes: int,
) -> Evaluation:
    """Evaluate a network by its ``outputs`` for the test images of each class.

    ``tests`` holds the test images (N, H, W, C) of each class seen, in label order. ``memory`` is that of the
    same step, for prediction by the nearest mean of exemplars; ``means_KD`` are a frozen network's, and
    ``exemplars`` another's, see ``first_features``. The metrics include the sizes of files. Raises UserError
    if the network's scores are not finite.
    """
    outputs = [*outputs] if means_KD is not None else outputs
    width = 0 if exemplars is None else exemplars[0].shape[1]
    judged = judge_tests(metadata, memory.class_means, tests, outputs, width)
    labels, predictions = judged.labels, judged.predictions
    metrics: results.StepMetrics = {
        "step": len(metadata.steps),
        "classes": len(tests),
        "test_images": len(labels),
        **results.breakdown(judged.ranks, labels, metadata.steps, settings.group_labels),  # type: ignore[typeddict-item]
        "nme": results.breakdown(judged.nme_ranks, labels, metadata.steps, settings.group_labels),
        "parameters": metadata.parameters,
        "parameters_trained": metadata.parameters_trained,
        "checkpoint_bytes": checkpoint_bytes,
        "memory_images": len(memory.labels),
        "memory_bytes": memory_bytes,
        "gamma": metadata.gamma,
    }
    if means_KD is not None and metadata.familiarity is not None and len(tests) > 2:
        metrics["unknown_auroc"] = metadata.familiarity.unknown_auroc([*outputs], means_KD)
    if exemplars is not None:
        fitted, _ = fit_classifier([features[:, None] for features in exemplars], "logistic", SHRINKAGE)
        scores = judged.first @ fitted.weight_KP.T + fitted.bias_K
        metrics["frozen_top1"] = results.percent(scores.argmax(axis=1) == labels)
    height, width = tests[0].shape[1:3]
    mistakes = results.find_mistakes(
        predictions, labels, metadata.class_names, results.most_mistakes(height * width)
    )
    counts = results.confusion_matrix(labels, predictions.predicted, len(tests))
    return Evaluation(metrics, counts, predictions, results.with_images(mistakes, tests))


def first_features(
    compute: Callable[[Iterable[NDArray[np.uint8]]], Iterable[Outputs]], memory: Memory, features: int
) -> list[NDArray[np.float32]] | None:
    """Compute the ``features`` of the first extractor for each class's exemplars; None if they are many."""
    if len(memory.labels) > MOST:
        return None
    classes = (memory.of_class(label).copy() for label in range(len(memory.class_means)))
    return [one.features[:, :features] for one in compute(classes)]


def save_evaluation(path: Path, evaluation: Evaluation, names: list[str]) -> None:
    """Write a step's evaluation as a sealed directory; ``names`` are the classes in label order."""
    with files.sealed_directory(path) as directory:
        files.write_json(directory / results.METRICS, evaluation.metrics)
        results.write_confusion(directory, evaluation.confusion, names)
        results.write_predictions(directory, evaluation.predictions)
        results.write_mistakes(directory, evaluation.mistakes)


@dataclass(frozen=True)
class Judgement:
    """Ranks and predictions of B test images, in label order."""

    labels: NDArray[np.int64]  # (B,)
    ranks: NDArray[np.int64]  # (B,) of the true class, by the classifier's scores
    nme_ranks: NDArray[np.int64]  # (B,) by nearest mean of exemplars
    predictions: results.Predictions
    first: NDArray[np.float32]  # (B, width), the first of the features


def judge_tests(
    metadata: Metadata,
    means_KD: NDArray[np.float32],
    tests: Sequence[NDArray[np.uint8]],
    outputs: Iterable[Outputs],
    width: int = 0,
) -> Judgement:
    """Rank and predict each class's test images (N, H, W, C); raises UserError if a score is not finite."""
    labels = np.repeat(np.arange(len(tests)), [len(images) for images in tests])
    means, start, found = means_KD.astype(np.float64), 0, []
    for some in outputs:
        logits = some.logits
        if not np.isfinite(logits).all():
            step = len(metadata.steps)
            raise errors.UserError(f"step {step}: the network's scores are not finite; train it again")
        own = labels[start : start + len(logits)]
        by_means = results.ranks(results.nearest_mean_scores(some.features, means), own)
        guess = results.predict(logits)
        first = some.features[:, :width].copy()
        found.append((results.ranks(logits, own), by_means, guess.predicted, guess.confidence, first))
        start += len(logits)
    ranks, nme_ranks, predicted, confidence, first = map(np.concatenate, zip(*found, strict=True))
    return Judgement(labels, ranks, nme_ranks, results.Predictions(predicted, confidence), first)
