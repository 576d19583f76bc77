"""The classifier learning stage (DER, section 3.4): a new classifier on balanced data, extractors frozen.

# N training images, C classes seen
"""

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from der.core.randomness import generator
from der.core.text import printable
from der.model.backbones import torch_uniform
from der.model.network import Network
from der.settings.training import ClassifierSettings, TrainSettings
from der.train.log import EpochRecord
from der.train.objective import ClassifierObjective
from der.train.phase import run_phase
from der.train.step_run import StepRun
from der.train.training_images import TrainingImages
from der.train.workload import CLASSIFIER

FEW = 10  # images of a class, half of the 20 exemplars that usually stand for an old one


def warn_of_few(
    steps: Sequence[Sequence[str]],
    images: TrainingImages,
    settings: TrainSettings,
    warn: Callable[[str], None],
) -> None:
    """Tell ``warn`` of a new class of so few images that hardly any exemplar will be in the balanced subset.

    ``steps`` holds all class names in label order, by the step that brought them.
    """
    if len(steps) == 1 or settings.incremental.rebalancing != "classifier_learning":
        return
    counts, old = np.bincount(images.labels), sum(map(len, steps[:-1]))
    rarest = old + int(counts[old:].argmin())
    few = int(counts[rarest])
    if few < min(FEW, counts[:old].min()):
        name = [*chain(*steps)][rarest]
        warn(
            f"training images of class {printable(name)}: {few}, and classifier learning takes as many of "
            f"every class, {few * len(counts)} of {len(images.labels)}; add some, or write "
            "train.incremental.rebalancing: weight_alignment"
        )


def learn_classifier(
    run: StepRun, network: Network, images: TrainingImages, phase: ClassifierSettings
) -> list[EpochRecord]:
    """Draw the classifier of ``network`` anew and train it, alone and in place, on a balanced subset."""
    torch_uniform(network.head, generator(run.settings.seed, "classifier", run.step))
    indices = balanced_subset(images.labels, generator(run.settings.seed, "balanced subset", run.step))
    objective = ClassifierObjective(network.head, phase.temperature)
    engine = run.wire_engine(objective, network.extractors, images.pick(indices), phase)
    records = run_phase(run, CLASSIFIER, engine, phase, len(indices))
    engine.release()
    return records


def balanced_subset(labels_N: NDArray[np.int64], stream: torch.Generator) -> NDArray[np.int64]:
    """Sorted indices of images: of each class as many, at random, as the rarest class has."""
    rarest = int(np.bincount(labels_N)[np.unique(labels_N)].min())
    chosen = []
    for label in np.unique(labels_N):
        indices = np.flatnonzero(labels_N == label)
        order = torch.randperm(len(indices), generator=stream).numpy()
        chosen.append(indices[order[:rarest]])
    return np.sort(np.concatenate(chosen))
