"""Learning rate over epochs."""

from der.common.settings import PhaseSettings


def learning_rate(settings: PhaseSettings, epoch: int) -> float:
    """Rate during ``epoch`` (counted from 0): multiplied by ``decay`` from each milestone on."""
    passed = sum(epoch >= milestone for milestone in settings.milestones)
    return settings.learning_rate * settings.decay**passed
