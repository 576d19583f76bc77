"""What a step's network says of all test images, some at a time: of features and scores nothing is kept.

# B test images, C classes seen, D features
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from der.common.errors import UserError
from der.evaluation.metrics import ranks
from der.evaluation.nearest_mean import nearest_mean_scores
from der.evaluation.predictions import Predictions, predict
from der.model.checkpoint import Checkpoint
from der.model.forward import Outputs, outputs_in_turns

HELD_VALUES = 2**24  # features and scores of neighbouring classes that are judged at once


@dataclass(frozen=True)
class Judgement:
    """Of B test images, in label order."""

    labels: NDArray[np.int64]  # (B,)
    ranks: NDArray[np.int64]  # (B,) of the true class, by the classifier's scores
    nme_ranks: NDArray[np.int64]  # (B,) by nearest mean of exemplars
    predictions: Predictions


def judge_tests(
    checkpoint: Checkpoint,
    means_CD: NDArray[np.float32],
    tests: Sequence[NDArray[np.uint8]],
    device: torch.device,
) -> Judgement:
    """Judge the test images (N, H, W, C) of each class seen; UserError if a score is not finite."""
    labels = np.repeat(np.arange(len(tests)), [len(images) for images in tests])
    means, ends = means_CD.astype(np.float64), [0]
    judged: list[Judgement] = []
    with outputs_in_turns(checkpoint, device) as outputs_of:
        for block in _blocks(outputs_of(tests), len(labels)):
            ends.append(ends[-1] + len(block.logits))
            judged.append(_judge(block, labels[ends[-2] : ends[-1]], means, len(checkpoint.metadata.steps)))
    return Judgement(
        labels,
        np.concatenate([one.ranks for one in judged]),
        np.concatenate([one.nme_ranks for one in judged]),
        Predictions(
            np.concatenate([one.predictions.predicted for one in judged]),
            np.concatenate([one.predictions.confidence for one in judged]),
        ),
    )


def _blocks(outputs: Iterable[Outputs], images: int) -> Iterator[Outputs]:
    """The same, of many of all ``images`` at once, for many classes have few each.

    They are copied into one block: kept apart, they would break up the room that passes need, and every pass
    would take some more.
    """
    features_BD, logits_BC, filled = np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), 0
    for one in outputs:
        if not len(logits_BC):
            values = one.features.shape[1] + one.logits.shape[1]
            rows = min(images, max(1, HELD_VALUES // values))
            features_BD = np.empty((rows, one.features.shape[1]), np.float32)
            logits_BC = np.empty((rows, one.logits.shape[1]), np.float32)
        start = 0
        while start < len(one.logits):
            taken = min(len(logits_BC) - filled, len(one.logits) - start)
            features_BD[filled : filled + taken] = one.features[start : start + taken]
            logits_BC[filled : filled + taken] = one.logits[start : start + taken]
            start, filled = start + taken, filled + taken
            if filled == len(logits_BC):
                yield Outputs(features_BD, logits_BC)
                filled = 0
    if filled:
        yield Outputs(features_BD[:filled], logits_BC[:filled])


def _judge(
    outputs: Outputs, labels_B: NDArray[np.int64], means_CD: NDArray[np.float64], step: int
) -> Judgement:
    if not np.isfinite(outputs.logits).all():
        raise UserError(f"step {step}: the network's scores are not finite; train it again")
    return Judgement(
        labels_B,
        ranks(outputs.logits, labels_B),
        ranks(nearest_mean_scores(outputs.features, means_CD), labels_B),
        predict(outputs.logits),
    )
