"""The classifier learning stage (DER, section 3.4): a new classifier on balanced data, extractors frozen.

# N training images, C classes seen
"""

import numpy as np
import torch
from numpy.typing import NDArray

from der.common.precision import choose_precision
from der.common.randomness import generator
from der.model.network import Network, randomize_linear
from der.model.preprocessing import Normalize
from der.settings.training import ClassifierSettings
from der.train.engine import Engine
from der.train.log import EpochRecord
from der.train.objective import ClassifierObjective
from der.train.phase import StepRun, run_phase
from der.train.training_images import Gatherer, TrainingImages

PHASE = "classifier"


def learn_classifier(
    run: StepRun, network: Network, images: TrainingImages, phase: ClassifierSettings
) -> list[EpochRecord]:
    """Draw the classifier of ``network`` anew and train it, alone and in place, on a balanced subset."""
    randomize_linear(network.head, generator(run.settings.seed, "classifier", run.step))
    numbers = balanced_subset(images.labels, generator(run.settings.seed, "balanced subset", run.step))
    gatherer = Gatherer(images.pick(numbers), run.device)
    precision = choose_precision(run.settings.precision, run.device)
    objective = ClassifierObjective(network.head, phase.temperature)
    engine = Engine(
        objective,
        network.extractors,
        gatherer,
        Normalize(run.normalization),
        run.settings.augmentation,
        phase,
        precision,
    )
    records = run_phase(run, PHASE, engine, phase, len(numbers))
    engine.release()
    return records


def balanced_subset(labels_N: NDArray[np.int64], stream: torch.Generator) -> NDArray[np.int64]:
    """Sorted numbers of images: of each class as many, at random, as the rarest class has."""
    rarest = int(np.bincount(labels_N)[np.unique(labels_N)].min())
    chosen = []
    for label in np.unique(labels_N):
        numbers = np.flatnonzero(labels_N == label)
        order = torch.randperm(len(numbers), generator=stream).numpy()
        chosen.append(numbers[order[:rarest]])
    return np.sort(np.concatenate(chosen))
