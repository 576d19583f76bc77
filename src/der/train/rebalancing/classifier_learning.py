"""The classifier learning stage (DER, section 3.4): a new classifier on balanced data, extractors frozen.

# N training images, C classes seen
"""

import numpy as np
import torch
from numpy.typing import NDArray

from der.common.randomness import generator
from der.model.head_initialization import torch_uniform
from der.model.network import Network
from der.settings.training import ClassifierSettings
from der.train.log import EpochRecord
from der.train.objective import ClassifierObjective
from der.train.phase import run_phase
from der.train.step_run import StepRun
from der.train.training_images import TrainingImages
from der.train.workload import CLASSIFIER


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
