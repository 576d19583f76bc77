"""`python -m tests.compatibility.make`: the folder ``previous`` anew, as this revision writes its files.

A release commits it, after its tag: then the code of tomorrow is held to the files of that revision. It is a
tiny run of two steps, whose masks leave few channels of every extractor, so that the files are small.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core.files import write_array, write_json
from der.data.arrays import Memory, empty_memory, save_memory
from der.evaluation.results import nearest_mean_scores
from der.memory import build_memory
from der.model.checkpoint import FORMAT, Checkpoint, load_checkpoint, save_checkpoint, save_empty_checkpoint
from der.model.network import run_network
from der.train.batches import TrainingImages, gather_step
from der.train.engine import StepRun
from der.train.resume import HOLDER, LOCK, PREFIX, StateKeeper, StateStore
from der.train.step import classifier_learning
from tests import builders

FOLDER = Path(__file__).parent / "previous"
CHECKPOINT, MEMORY, SCRATCH, NUMBERS = "checkpoints/2", "memory/2", "scratch", "numbers"
REVISION = "revision.json"
STEPS = [["ant", "bee"], ["cat", "dog"], ["elk"]]  # the last is that of tomorrow
CLASSIFIER = builders.classifier_settings(epochs=4, batch_size=4)
SETTINGS = builders.train_settings(
    masks=builders.mask_settings(start_mean=-1.0),
    incremental=builders.incremental_settings(rebalancing="classifier_learning", classifier=CLASSIFIER),
)
KEY = "interrupted"  # of the training state
BATCHES = 2  # of an epoch of classifier learning
Numbers = NDArray[np.float32] | NDArray[np.float64]


def main() -> None:
    """Make all of it; the tests of the folder say what it is for."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    line = ["git", "describe", "--tags", "--always", "--dirty"]
    revision = subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
    write_json(FOLDER / REVISION, {"revision": revision, "checkpoint_format": FORMAT})
    checkpoint, memory = None, empty_memory()
    save_empty_checkpoint(FOLDER / "checkpoints/0")
    for step in (1, 2):
        checkpoint = train(step, checkpoint, memory)
        memory = remember(step, checkpoint, memory)
        save_checkpoint(FOLDER / f"checkpoints/{step}", checkpoint, FOLDER / f"checkpoints/{step - 1}")
    save_memory(FOLDER / MEMORY, memory)
    make_interrupted(memory)
    numbers = predict(load_checkpoint(FOLDER / CHECKPOINT), memory)
    numbers["head"] = learn_head(
        load_checkpoint(FOLDER / CHECKPOINT), memory, builders.MemoryKeeper(), builders.Recorder()
    )
    for name, values in numbers.items():
        write_array(FOLDER / NUMBERS / f"{name}.npy", values)


def make_interrupted(memory: Memory) -> None:
    """The state of a training that was killed in its second epoch."""
    scratch = FOLDER / SCRATCH
    with suppress(builders.Killed), StateStore(scratch, KEY, print) as keeper:
        learn_head(load_checkpoint(FOLDER / CHECKPOINT), memory, keeper, builders.Killer(BATCHES))
    for name in (LOCK, HOLDER):
        (scratch / f"{PREFIX}{KEY}" / name).unlink(missing_ok=True)


def images_of(step: int) -> list[NDArray[np.uint8]]:
    """Six images each of a step's classes, noise of a brightness of its own."""
    first = sum(map(len, STEPS[: step - 1]))
    return [
        (40 * label + np.random.RandomState(label).randint(0, 90, (6, 8, 8, 3))).astype(np.uint8)
        for label in range(first, first + len(STEPS[step - 1]))
    ]


def train(step: int, previous: Checkpoint | None, memory: Memory) -> Checkpoint:
    """The checkpoint of a step."""
    return builders.take_step(previous, STEPS[:step], gather_step(images_of(step), memory), SETTINGS)


def remember(step: int, checkpoint: Checkpoint, memory: Memory) -> Memory:
    """The memory after a step."""

    def features(classes: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        return (
            run_network(checkpoint.network, builders.NORMALIZATION, images, builders.CPU).features
            for images in classes
        )

    return build_memory(memory, images_of(step), builders.memory_settings(budget=8), features)


def predict(checkpoint: Checkpoint, memory: Memory) -> dict[str, Numbers]:
    """What the network says of all images of the first two steps, and what the means of the exemplars say."""
    images = np.concatenate([*images_of(1), *images_of(2)])
    outputs = run_network(checkpoint.network, builders.NORMALIZATION, images, builders.CPU)
    return {
        "logits": outputs.logits,
        "nearest_mean": nearest_mean_scores(outputs.features, memory.class_means),
    }


def learn_head(
    checkpoint: Checkpoint, memory: Memory, keeper: StateKeeper, listener: builders.Recorder
) -> Numbers:
    """The classifier's weights after it was learned anew, in place, on the exemplars alone."""
    run = StepRun(2, len(STEPS[0]), builders.NORMALIZATION, SETTINGS, builders.CPU, listener, keeper)
    classifier_learning(run, checkpoint.network, TrainingImages(memory.images, memory.labels))
    weights: Numbers = checkpoint.network.head.weight.detach().numpy()
    return weights


if __name__ == "__main__":
    main()
