"""What a step's network says of all test images, some at a time: of features and scores nothing is kept.

# B test images, C classes seen, D features
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from der.core.errors import UserError
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
    head, means = checkpoint.network.head, means_CD.astype(np.float64)
    rows = min(len(labels), max(1, HELD_VALUES // (head.in_features + head.out_features)))
    room = Outputs(
        np.empty((rows, head.in_features), np.float32), np.empty((rows, head.out_features), np.float32)
    )
    judged, start = list[Judgement](), 0
    with outputs_in_turns(checkpoint, device) as outputs_of:
        for block in _blocks(outputs_of(tests), room):
            own = labels[start : start + len(block.logits)]
            judged.append(_judge(block, own, means, len(checkpoint.metadata.steps)))
            start += len(own)
    return Judgement(
        labels,
        np.concatenate([one.ranks for one in judged]),
        np.concatenate([one.nme_ranks for one in judged]),
        Predictions(
            np.concatenate([one.predictions.predicted for one in judged]),
            np.concatenate([one.predictions.confidence for one in judged]),
        ),
    )


def _blocks(outputs: Iterable[Outputs], room: Outputs) -> Iterator[Outputs]:
    """The same, as many at once as there is ``room`` for, into which they are copied.

    Kept apart, they would break up the memory that passes need, and every pass would take some more.
    """
    filled, most = 0, len(room.logits)
    for one in outputs:
        start = 0
        while start < len(one.logits):
            taken = min(most - filled, len(one.logits) - start)
            room.features[filled : filled + taken] = one.features[start : start + taken]
            room.logits[filled : filled + taken] = one.logits[start : start + taken]
            start, filled = start + taken, filled + taken
            if filled == most:
                yield room
                filled = 0
    if filled:
        yield Outputs(room.features[:filled], room.logits[:filled])


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
