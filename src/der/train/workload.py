"""What a step is going to cost, in epochs and in passes of images: for those who wait, not for training.

A pass of an image through the new extractor, forward and back, costs 1.
"""

from typing import NamedTuple

from der.settings.training import TrainSettings
from der.train.log import REPRESENTATION

CLASSIFIER = "classifier"  # the phase that rebalancing by classifier learning adds
FROZEN = 0.3  # cost of a pass through a frozen extractor; 0.15 to 0.3 by the table in docs/speed.md


class PhaseWork(NamedTuple):
    """A phase of training that is planned, or under way.

    Attributes
    ----------
    name
        "representation" or "classifier".
    epochs
        Number of them.
    images
        Number of images of an epoch.
    cost
        Of an image in an epoch, in passes of one through an extractor, forward and back.
    """

    name: str
    epochs: int
    images: int
    cost: float

    @property
    def total(self) -> float:
        """The cost of all its epochs."""
        return self.epochs * self.images * self.cost


StepWork = list[PhaseWork]
"""The phases of a step, in order."""


class RunWork(NamedTuple):
    """What a run trains beside the step under way."""

    epochs_before: int = 0  # of earlier steps
    later: tuple[StepWork, ...] = ()  # later steps


def plan_step(step: int, per_class: list[int], settings: TrainSettings, *, expansion: bool) -> StepWork:
    """The phases of ``step``, counted from 1, on ``per_class`` images of each class seen."""
    frozen = step - 1 if expansion else 0
    schedule = settings.base if step == 1 else settings.incremental
    work = [PhaseWork(REPRESENTATION, schedule.epochs, sum(per_class), 1 + FROZEN * frozen)]
    if step > 1 and settings.incremental.rebalancing == "classifier_learning":
        epochs = settings.incremental.classifier.epochs
        work.append(PhaseWork(CLASSIFIER, epochs, min(per_class) * len(per_class), FROZEN * (frozen + 1)))
    return work


def milestones(work: StepWork) -> set[int]:
    """The epochs of a step, counted from 1 over its phases, after which a line is worth printing.

    The first, about every tenth of all, and the last of every phase: twelve at most for two phases.
    """
    total = sum(phase.epochs for phase in work)
    ends = [sum(phase.epochs for phase in work[: count + 1]) for count in range(len(work))]
    return {1, *ends, *(-(-total * tenth // 10) for tenth in range(1, 11))}
