"""Ways to undo the classifier's bias towards new classes, by name: what train.incremental.rebalancing names.

To add one, write a function of the run, the network and the step's images, and name it in REBALANCINGS. Names
are known without torch, which the functions import when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

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


class Rebalancing(Protocol):
    """A rebalancing: a function that changes the classifier, in place, after representation learning.

    It is called at steps with old classes, the first ``run.old_classes`` labels. ``network.head`` is a
    torch.nn.Linear of weight (classes, features), whose bias is None without network.head_bias; it keeps its
    shape. ``network.extractors`` stay as they are. ``images`` are the step's: those of new classes, and the
    exemplars of old ones.

    Settings are ``run.settings.incremental``. Draws come from
    ``der.core.randomness.generator(run.settings.seed, purpose, run.step)`` alone. What trains for long goes
    through ``run.wire_engine`` and ``der.train.phase.run_phase``, which goes on after an interruption. Logits
    come from ``der.model.forward.run_network``.
    """

    def __call__(self, run: StepRun, network: Network, images: TrainingImages, /) -> Rebalanced: ...


REBALANCINGS: dict[str, Rebalancing] = {
    "weight_alignment": weight_alignment,
    "classifier_learning": classifier_learning,
    "none": none,
}
