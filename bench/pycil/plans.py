"""What both programs learn, and with which schedule."""

from dataclasses import dataclass, replace
from typing import Literal

QUICK_IMAGES = 8  # of each class


@dataclass(frozen=True)
class Plan:
    """A protocol and a schedule; the recipe that is not here is PyCIL's, see README.md."""

    name: Literal["speed", "growth", "accuracy", "short", "parity"]
    new_classes: tuple[int, ...]  # at every step
    order: Literal["fixed", "seed"]  # of the classes: RandomState(1993)'s as in PyCIL, or each seed its own
    train_images: int  # of each class, at most
    test_images: int  # likewise
    side: int  # pixels: 32, or an even fraction of it to which pixels are averaged
    crop_padding: int  # pixels
    depth: int  # of the ResNet
    epochs: int  # of every step
    milestones: tuple[int, ...]  # epochs, counted from 0, from which the rate is a tenth
    batch_size: int  # images
    memory: int  # exemplars in total
    threads: int | None  # of every process; None: as torch takes them
    learning_rate: float = 0.1
    weight_decay: tuple[float, float] = (5e-4, 2e-4)  # at step 1, at every later step
    warmup_epochs: int = 1  # not timed, of every step


PLANS = {
    plan.name: plan
    for plan in (
        Plan("speed", (25, 25, 25, 25), "fixed", 500, 100, 32, 4, 32, 3, (), 128, 2000, None),
        Plan("growth", (5,) * 20, "fixed", 60, 20, 32, 4, 32, 2, (), 128, 300, None),
        Plan("accuracy", (25, 25, 25, 25), "fixed", 500, 100, 32, 4, 32, 10, (6, 9), 128, 2000, None),
        Plan("short", (5, 5), "seed", 200, 100, 16, 2, 14, 12, (6, 10), 32, 150, 1),
        Plan("parity", (5, 5), "seed", 30, 20, 16, 2, 14, 2, (1,), 32, 100, None),
    )
}


def shorten(plan: Plan) -> Plan:
    """The same with few images and two epochs: a check of the harness."""
    return replace(
        plan,
        train_images=QUICK_IMAGES,
        test_images=QUICK_IMAGES,
        epochs=2,
        milestones=(1,),
        memory=QUICK_IMAGES
        * plan.new_classes[0],  # PyCIL fails where a class has fewer images than exemplars
    )
