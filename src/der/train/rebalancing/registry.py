"""Ways to undo the classifier's bias towards new classes, by name: what train.incremental.rebalancing names.

To add one, write a function of the run, the network and the step's images, and name it in REBALANCINGS. Names
are known without torch, which the functions import when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from der.train.log import EpochRecord

if TYPE_CHECKING:
    from der.model.network import Network
    from der.train.step_run import StepRun
    from der.train.training_images import TrainingImages


class Rebalanced(NamedTuple):
    """What rebalancing leaves behind, beside a classifier changed in place."""

    records: list[EpochRecord]  # of the epochs it took
    gamma: float | None = None  # factor of the new classes' weights, if that is all it does


def weight_alignment(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    """Scale the new classes' weights to the old classes' mean norm (Zhao et al. 2020)."""
    from der.train.rebalancing.weight_alignment import align_weights

    return Rebalanced([], align_weights(network.head, run.old_classes))


def classifier_learning(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    """Train a new classifier on balanced data (DER, section 3.4)."""
    from der.train.rebalancing.classifier_learning import learn_classifier

    return Rebalanced(learn_classifier(run, network, images, run.settings.incremental.classifier))


def none(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
    """Leave the classifier as representation learning left it (an ablation)."""
    return Rebalanced([])


# Called after representation learning of a step that has old classes. The network's classifier is changed
# in place; its extractors stay as they are. The settings are ``run.settings.incremental``; randomness comes
# from der.common.randomness.generator(run.settings.seed, purpose, run.step), training from
# ``run.wire_engine`` and der.train.phase.run_phase, which goes on after an interruption.
Rebalancing = Callable[["StepRun", "Network", "TrainingImages"], Rebalanced]

REBALANCINGS: dict[str, Rebalancing] = {
    "weight_alignment": weight_alignment,
    "classifier_learning": classifier_learning,
    "none": none,
}
