"""PyCIL's network and recipe, with a plan's schedule, as our settings."""

from typing import Any

from bench.pycil.plans import Plan
from der.model.architecture import Normalization
from der.settings.sections import (
    AugmentationSettings,
    ClassifierSettings,
    IncrementalSettings,
    MemorySettings,
    NetworkSettings,
    PhaseSettings,
    Precision,
    TrainSettings,
)

NORMALIZATION = Normalization([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761])  # PyCIL's, of CIFAR-100
BRIGHTNESS = 63 / 255


def network_settings(plan: Plan, head_initialization: str = "torch_uniform") -> NetworkSettings:
    """The ResNet of He et al. (2016) for small images, of the plan's depth."""
    return NetworkSettings(
        backbone="cifar_resnet",
        depth=plan.depth,
        stem="small",
        head_bias=True,
        head_initialization=head_initialization,
        inherit_head=True,
        expansion=True,
        mean=NORMALIZATION.mean,
        std=NORMALIZATION.std,
    )


def train_settings(plan: Plan, precision: Precision, seed: int) -> TrainSettings:
    """Without masks, and with weight alignment."""
    schedule: dict[str, Any] = {
        "epochs": plan.epochs,
        "learning_rate": plan.learning_rate,
        "milestones": list(plan.milestones),
        "decay": 0.1,
        "momentum": 0.9,
        "batch_size": plan.batch_size,
        "warmup_epochs": 0,
    }
    first, later = plan.weight_decay
    return TrainSettings(
        seed=seed,
        precision=precision,
        augmentation=augmentation_settings(plan),
        masks=None,
        base=PhaseSettings(**schedule, weight_decay=first, reinitialize_heads=False),
        incremental=IncrementalSettings(
            **schedule,
            weight_decay=later,
            reinitialize_heads=False,
            auxiliary_weight=1.0,
            rebalancing="weight_alignment",
            classifier=ClassifierSettings(**schedule, weight_decay=later, temperature=1.0),  # not used
        ),
    )


def augmentation_settings(plan: Plan) -> AugmentationSettings:
    """A padded crop, a flip, a change of brightness."""
    return AugmentationSettings(
        resized_crop=None, crop_padding=plan.crop_padding, horizontal_flip=True, brightness=BRIGHTNESS
    )


def memory_settings(plan: Plan) -> MemorySettings:
    """Herding, with a budget that all classes share."""
    return MemorySettings(budget=plan.memory, allocation="total", selection="herding", seed=0)
