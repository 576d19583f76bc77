"""Learning rate over epochs."""

from der.settings.training import ScheduleSettings


def learning_rate(settings: ScheduleSettings, epoch: int) -> float:
    """Rate during ``epoch`` (counted from 0): multiplied by ``decay`` from each milestone on.

    During warm-up it rises linearly, to the whole rate in the last warm-up epoch. Milestones count from
    the first epoch, warm-up included.
    """
    passed = sum(epoch >= milestone for milestone in settings.milestones)
    warmth = min(1.0, (epoch + 1) / settings.warmup_epochs) if settings.warmup_epochs else 1.0
    return settings.learning_rate * settings.decay**passed * warmth
