"""Ways to undo the classifier's bias towards new classes, by name: what train.incremental.rebalancing names.

To add one, write a function of the run, the network and the step's images, and name it in REBALANCINGS. Names
are known without torch, which the functions import when they are called.

# N training images, C classes seen
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.registry import look_up
from der.train.log import CLASSIFIER, EpochRecord

if TYPE_CHECKING:
    import torch
    from torch import nn

    from der.model.network import Network
    from der.train.batches import TrainingImages
    from der.train.engine import StepRun


class Rebalanced(NamedTuple):
    """What rebalancing leaves behind, beside a classifier changed in place."""

    records: list[EpochRecord]  # of the epochs it took
    gamma: float | None = None  # factor of the new classes' weights, if that is all it does


class Rebalancing(Protocol):
    """A rebalancing: a function that changes the classifier, in place, after representation learning.

    It is called at steps with old classes, the first ``run.old_classes`` labels. ``network.head`` is a
    torch.nn.Linear of weight (classes, features), whose bias is None without network.head_bias; it keeps its
    shape. ``network.extractors`` stay as they are. ``images`` are the step's: those of new classes, and the
    exemplars of old ones.

    Settings are ``run.settings.incremental``. Draws come from
    ``der.core.randomness.generator(run.settings.seed, purpose, run.step)`` alone. What trains for long goes
    through ``run.wire_engine`` and ``der.train.engine.run_phase``, which goes on after an interruption.
    Logits come from ``der.model.forward.run_network``.
    """

    def __call__(self, run: StepRun, network: Network, images: TrainingImages, /) -> Rebalanced: ...


def weight_alignment(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    """Weight alignment (Zhao et al. 2020, "Maintaining Discrimination and Fairness", section 4).

    Multiplies the new classes' rows of the weight by gamma, the mean norm of old rows over that of new rows;
    the bias stays.
    """
    import torch

    weight, old = network.head.weight, run.old_classes
    with torch.no_grad():
        norms = weight.norm(dim=1)
        gamma = norms[:old].mean() / norms[old:].mean()
        weight[old:] *= gamma
    return Rebalanced([], float(gamma))


def classifier_learning(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    """Draw the classifier anew and train it, extractors frozen, on a balanced subset (DER, section 3.4)."""
    from der.core.randomness import generator
    from der.model.backbones import torch_uniform
    from der.train.engine import run_phase
    from der.train.objective import ClassifierObjective

    schedule = run.settings.incremental.classifier
    torch_uniform(network.head, generator(run.settings.seed, "classifier", run.step))
    indices = balanced_subset(images.labels, generator(run.settings.seed, "balanced subset", run.step))
    objective = ClassifierObjective(network.head, schedule.temperature)
    engine = run.wire_engine(objective, network.extractors, images.pick(indices), schedule)
    records = run_phase(run, CLASSIFIER, engine, schedule, len(indices))
    engine.release()
    return Rebalanced(records)


def balanced_subset(labels_N: NDArray[np.int64], stream: torch.Generator) -> NDArray[np.int64]:
    """Sorted indices of images: of each class as many, at random, as the rarest class has."""
    import torch

    rarest = int(np.bincount(labels_N)[np.unique(labels_N)].min())
    chosen = []
    for label in np.unique(labels_N):
        indices = np.flatnonzero(labels_N == label)
        order = torch.randperm(len(indices), generator=stream).numpy()
        chosen.append(indices[order[:rarest]])
    return np.sort(np.concatenate(chosen))


REBALANCINGS: dict[str, Rebalancing] = {
    "weight_alignment": weight_alignment,
    "classifier_learning": classifier_learning,
    "none": lambda run, network, images: Rebalanced([]),  # an ablation
}


def find_rebalancing(name: str) -> Rebalancing:
    """The rebalancing of that name; raises UserError if there is none.

    When called it raises UserError, naming it, for a result that is not as ``Rebalancing`` says.
    """
    function = look_up(REBALANCINGS, name, "train.incremental.rebalancing")

    def checked(run: StepRun, network: Network, images: TrainingImages, /) -> Rebalanced:
        head, shape = network.head, network.head.weight.shape
        before = _digest(network.extractors)
        returned = function(run, network, images)
        records = returned.records if isinstance(returned, Rebalanced) else None
        if not isinstance(records, list) or not all(isinstance(one, EpochRecord) for one in records):
            fault = f"returns {type(returned).__name__}; return Rebalanced([]), or with the epochs it took"
        elif network.head is not head or head.weight.shape != shape:
            fault = "puts another classifier into the network; change its weights in place"
        elif _digest(network.extractors) != before:
            fault = "changes an extractor; change the classifier alone"
        else:
            return returned
        raise UserError(f"train.incremental.rebalancing: {name} {fault}")

    return checked


def _digest(modules: Sequence[nn.Module]) -> bytes:
    """The hash of all parameters and buffers: milliseconds for every hundred megabytes."""
    import torch

    found = hashlib.blake2b()
    for module in modules:
        for value in module.state_dict().values():
            found.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy())
    return found.digest()
