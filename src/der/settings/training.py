"""How a step is trained."""

from dataclasses import dataclass
from typing import Annotated, Literal

from der.common.errors import UserError
from der.settings.ranges import LARGEST_FACTOR, LARGEST_RATE, MOST, Range, Section


@dataclass(frozen=True)
class AugmentationSettings(Section):
    """Random changes of training images, applied in this order; zero or false turns one off."""

    resized_crop: Annotated[list[float] | None, Range(0, 1, above_low=True)]  # fractions of the area
    crop_padding: Annotated[int, Range(0, 256)]  # pixels of zeros on every side before a random crop
    horizontal_flip: bool  # with probability one half
    brightness: Annotated[float, Range(0, 1)]  # largest relative change

    def __post_init__(self) -> None:
        super().__post_init__()
        crop = self.resized_crop
        if crop is not None and (len(crop) != 2 or crop[0] > crop[1]):
            raise UserError("resized_crop: write the smallest and the largest fraction, [0.08, 1.0], or null")


@dataclass(frozen=True)
class ScheduleSettings(Section):
    """Stochastic gradient descent over epochs."""

    epochs: Annotated[int, Range(1, MOST)]
    learning_rate: Annotated[float, Range(0, LARGEST_RATE, above_low=True)]
    milestones: Annotated[list[int], Range(0, MOST)]  # epochs, counted from 0, at which the rate decays
    decay: Annotated[float, Range(0, 1, above_low=True)]  # factor at each milestone
    weight_decay: Annotated[float, Range(0, LARGEST_FACTOR)]
    momentum: Annotated[float, Range(0, 1)]
    batch_size: Annotated[int, Range(1, MOST)]  # images
    warmup_epochs: Annotated[int, Range(0, MOST)]  # over which the rate rises linearly

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.milestones != sorted(set(self.milestones)):
            raise UserError(f"milestones: {self.milestones} do not increase; write each epoch once, in order")


@dataclass(frozen=True)
class PhaseSettings(ScheduleSettings):
    """Representation learning of one phase (base or incremental)."""

    reinitialize_heads: bool  # when warm-up ends

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reinitialize_heads and not self.warmup_epochs:
            raise UserError(
                "reinitialize_heads: there is no warm-up to end; write false, or warmup_epochs above 0"
            )
        if self.reinitialize_heads and self.warmup_epochs >= self.epochs:
            raise UserError(
                f"reinitialize_heads: warm-up ends after all {self.epochs} epochs; write false, or fewer "
                "warmup_epochs"
            )


@dataclass(frozen=True)
class ClassifierSettings(ScheduleSettings):
    """The classifier learning stage (DER, section 3.4)."""

    temperature: Annotated[float, Range(0, LARGEST_FACTOR, above_low=True)]  # divides the logits


@dataclass(frozen=True)
class IncrementalSettings(PhaseSettings):
    """As PhaseSettings, with what only later steps have."""

    auxiliary_weight: Annotated[float, Range(0, LARGEST_FACTOR)]  # lambda_a
    rebalancing: Literal["weight_alignment", "classifier_learning", "none"]
    classifier: ClassifierSettings


@dataclass(frozen=True)
class MaskSettings(Section):
    """Channel masks and pruning (DER, section 3.3)."""

    sparsity_weight: Annotated[float, Range(0, LARGEST_FACTOR)]  # lambda_s
    sharpness: Annotated[float, Range(1, LARGEST_FACTOR, above_low=True)]  # s_max
    rate_factor: Annotated[float, Range(0, LARGEST_FACTOR, above_low=True)]  # of e over that of the weights
    start_mean: Annotated[float, Range(-6, 6)]  # of e
    start_deviation: Annotated[float, Range(0, LARGEST_FACTOR)]  # of e


@dataclass(frozen=True)
class TrainSettings(Section):
    """Training: what all steps share, then the two phases."""

    seed: Annotated[int, Range(0, 2**32 - 1)]
    precision: Literal["float32", "bfloat16"]
    augmentation: AugmentationSettings
    masks: MaskSettings | None
    base: PhaseSettings
    incremental: IncrementalSettings

    def recipe(self, step: int) -> "Recipe":
        """What step ``step``, counted from 1, is trained with."""
        return Recipe(
            self.seed,
            self.precision,
            self.augmentation,
            self.masks,
            base=self.base if step == 1 else None,
            incremental=self.incremental if step > 1 else None,
        )


@dataclass(frozen=True)
class Recipe(Section):
    """What of TrainSettings one step was trained with: its phase alone, the other is None."""

    seed: int
    precision: Literal["float32", "bfloat16"]
    augmentation: AugmentationSettings
    masks: MaskSettings | None
    base: PhaseSettings | None
    incremental: IncrementalSettings | None
