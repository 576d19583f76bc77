"""Evaluating one step's network on the test images of all classes seen.

# N test images, H and W pixels, C channels, K classes
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from der.data.exemplars import Memory
from der.evaluation.judging import judge_tests
from der.evaluation.metrics import StepMetrics, breakdown, confusion_matrix
from der.evaluation.mistakes import Mistakes, find_mistakes, most_mistakes, with_images
from der.evaluation.predictions import Predictions
from der.model.checkpoint import Checkpoint
from der.settings.sections import EvaluateSettings


@dataclass(frozen=True)
class Evaluation:
    """What one step's network does on the test images."""

    metrics: StepMetrics
    confusion: NDArray[np.int64]  # (K, K), true classes down
    predictions: Predictions
    mistakes: Mistakes


def evaluate_step(
    checkpoint: Checkpoint,
    memory: Memory,
    tests: Sequence[NDArray[np.uint8]],
    settings: EvaluateSettings,
    device: torch.device,
    *,
    checkpoint_bytes: int,
    memory_bytes: int,
) -> Evaluation:
    """Evaluate a checkpoint.

    ``tests`` holds the test images (N, H, W, C) of each class seen, in label order; ``memory`` is that
    of the same step, for prediction by nearest mean of exemplars. The sizes of their files are taken over
    into the metrics. Raises UserError if the network gives no finite scores.
    """
    metadata = checkpoint.metadata
    judged = judge_tests(checkpoint, memory.class_means, tests, device)
    labels, predictions = judged.labels, judged.predictions
    metrics: StepMetrics = {
        "step": len(metadata.steps),
        "classes": len(tests),
        "test_images": len(labels),
        **breakdown(judged.ranks, labels, metadata.steps, settings.group_labels),
        "nme": breakdown(judged.nme_ranks, labels, metadata.steps, settings.group_labels),
        "parameters": metadata.parameters,
        "parameters_trained": metadata.parameters_trained,
        "checkpoint_bytes": checkpoint_bytes,
        "memory_images": len(memory.labels),
        "memory_bytes": memory_bytes,
        "gamma": metadata.gamma,
    }
    counts = confusion_matrix(labels, predictions.predicted, len(tests))
    return Evaluation(
        metrics, counts, predictions, _mistakes(predictions, labels, metadata.class_names, tests)
    )


def _mistakes(
    predictions: Predictions,
    labels: NDArray[np.int64],
    names: Sequence[str],
    tests: Sequence[NDArray[np.uint8]],
) -> Mistakes:
    """Those that are kept, with their pictures."""
    height, width = tests[0].shape[1:3]
    return with_images(find_mistakes(predictions, labels, names, most_mistakes(height * width)), tests)
