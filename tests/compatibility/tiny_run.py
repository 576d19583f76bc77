"""A tiny run of two steps, of which a few kilobytes are kept at every release: see make.py.

Masks leave few channels of every extractor, so that the files are small.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from der.data.arrays import Memory
from der.evaluation.nearest_mean import nearest_mean_scores
from der.memory import build_memory
from der.model.checkpoint import Checkpoint
from der.model.forward import run_network
from der.train.batches import TrainingImages, gather_step
from der.train.phase import StepRun
from der.train.rebalancing import classifier_learning
from der.train.resume import StateKeeper
from tests.builders import (
    CPU,
    NORMALIZATION,
    Recorder,
    classifier_settings,
    incremental_settings,
    mask_settings,
    memory_settings,
    take_step,
    train_settings,
)

STEPS = [["ant", "bee"], ["cat", "dog"], ["elk"]]  # the last is that of tomorrow
CLASSIFIER = classifier_settings(epochs=4, batch_size=4)
SETTINGS = train_settings(
    masks=mask_settings(start_mean=-1.0),
    incremental=incremental_settings(rebalancing="classifier_learning", classifier=CLASSIFIER),
)
KEY = "interrupted"  # of the training state
BATCHES = 2  # of an epoch of classifier learning
Numbers = NDArray[np.float32] | NDArray[np.float64]


def images_of(step: int) -> list[NDArray[np.uint8]]:
    """Six images of each of a step's classes, noise of a brightness of its own."""
    first = sum(map(len, STEPS[: step - 1]))
    return [
        (40 * label + np.random.RandomState(label).randint(0, 90, (6, 8, 8, 3))).astype(np.uint8)
        for label in range(first, first + len(STEPS[step - 1]))
    ]


def train(step: int, previous: Checkpoint | None, memory: Memory) -> Checkpoint:
    """The checkpoint of a step."""
    return take_step(previous, STEPS[:step], gather_step(images_of(step), memory), SETTINGS)


def remember(step: int, checkpoint: Checkpoint, memory: Memory) -> Memory:
    """The memory after a step."""

    def features(classes: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        return (run_network(checkpoint.network, NORMALIZATION, images, CPU).features for images in classes)

    return build_memory(memory, images_of(step), memory_settings(budget=8), features)


def predict(checkpoint: Checkpoint, memory: Memory) -> dict[str, Numbers]:
    """What the network says of all images of the first two steps, and what the means of the exemplars say."""
    images = np.concatenate([*images_of(1), *images_of(2)])
    outputs = run_network(checkpoint.network, NORMALIZATION, images, CPU)
    return {
        "logits": outputs.logits,
        "nearest_mean": nearest_mean_scores(outputs.features, memory.class_means),
    }


def learn_head(checkpoint: Checkpoint, memory: Memory, keeper: StateKeeper, listener: Recorder) -> Numbers:
    """The classifier's weights after it was learned anew, in place, on the exemplars alone."""
    run = StepRun(2, len(STEPS[0]), NORMALIZATION, SETTINGS, CPU, listener, keeper)
    exemplars = TrainingImages(memory.images, memory.labels)
    classifier_learning(run, checkpoint.network, exemplars)
    weights: Numbers = checkpoint.network.head.weight.detach().numpy()
    return weights
