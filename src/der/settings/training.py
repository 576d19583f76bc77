"""How a step is trained."""

from typing import Annotated, Literal, get_args

from msgspec import Meta

from der.core.errors import UserError
from der.settings.sections import (
    LARGEST_FACTOR,
    LARGEST_RATE,
    SMALLEST,
    Count,
    CountOrZero,
    Factor,
    FactorOrZero,
    Section,
    Seed,
    Share,
    ShareAboveZero,
)

Precision = Literal["float32", "bfloat16"]  # torch's names
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


class AugmentationSettings(Section, frozen=True):
    """Random changes of training images, applied in this order; zero or false turns one off."""

    resized_crop: Annotated[
        Annotated[list[ShareAboveZero], Meta(extra_json_schema={"minItems": 2, "maxItems": 2})] | None,
        Meta(
            description="Smallest and largest fraction of the area of a random crop, [0.08, 1.0]; null: off."
        ),
    ]
    crop_padding: Annotated[
        int,
        Meta(ge=0, le=256, description="Pixels of zeros on every side before a random crop; 0 turns it off."),
    ]
    horizontal_flip: Annotated[bool, Meta(description="With probability 1/2.")]
    brightness: Annotated[Share, Meta(description="Factor drawn from 1 -+ this; 0 turns it off.")]

    def __post_init__(self) -> None:
        crop = self.resized_crop
        if crop is not None and (len(crop) != 2 or crop[0] > crop[1]):
            raise UserError("resized_crop: write the smallest and the largest fraction, [0.08, 1.0], or null")


class ScheduleSettings(Section, frozen=True):
    """Stochastic gradient descent over epochs."""

    epochs: Annotated[Count, Meta(description="Passes over the training images.")]
    learning_rate: Annotated[
        float, Meta(ge=SMALLEST, le=LARGEST_RATE, description="Of stochastic gradient descent.")
    ]
    milestones: Annotated[
        Annotated[list[CountOrZero], Meta(extra_json_schema={"uniqueItems": True})],
        Meta(description="Epochs, counted from 0, at which the rate is multiplied by decay."),
    ]
    decay: Annotated[ShareAboveZero, Meta(description="Factor of the rate at each milestone.")]
    weight_decay: Annotated[FactorOrZero, Meta(description="Factor of the weights' L2 penalty.")]
    momentum: Annotated[Share, Meta(description="Of stochastic gradient descent.")]
    batch_size: Annotated[Count, Meta(description="Images.")]
    warmup_epochs: Annotated[
        CountOrZero,
        Meta(description="Epochs over which the rate rises linearly; milestones count them."),
    ]

    def __post_init__(self) -> None:
        if self.milestones != sorted(set(self.milestones)):
            raise UserError(f"milestones: {self.milestones} do not increase; write each epoch once, in order")


class PhaseSettings(ScheduleSettings, frozen=True):
    """Representation learning of one phase (base or incremental)."""

    reinitialize_heads: Annotated[bool, Meta(description="Draw both classifiers anew when warm-up ends.")]

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


class ClassifierSettings(ScheduleSettings, frozen=True):
    """The classifier learning stage (DER, section 3.4)."""

    temperature: Annotated[Factor, Meta(description="Divides the logits.")]


class IncrementalSettings(PhaseSettings, frozen=True):
    """As PhaseSettings, with what only later steps have."""

    auxiliary_weight: Annotated[
        FactorOrZero, Meta(description="lambda_a, weight of the auxiliary classifier's loss.")
    ]
    rebalancing: Annotated[str, Meta(description="What undoes the classifier's bias towards new classes.")]
    classifier: Annotated[ClassifierSettings, Meta(description="Of classifier_learning only.")]


class MaskSettings(Section, frozen=True):
    """Channel masks and pruning (DER, section 3.3)."""

    sparsity_weight: Annotated[FactorOrZero, Meta(description="lambda_s, weight of the sparsity loss.")]
    sharpness: Annotated[
        float, Meta(gt=1, le=LARGEST_FACTOR, description="s_max, the largest slope of the masks' sigmoid.")
    ]
    rate_factor: Annotated[
        Factor, Meta(description="Learning rate of the masks' parameters e over that of the weights.")
    ]
    start_mean: Annotated[float, Meta(ge=-6, le=6, description="Mean of e at the start.")]
    start_deviation: Annotated[FactorOrZero, Meta(description="Standard deviation of e at the start.")]


class TrainSettings(Section, frozen=True):
    """Training: what all steps share, then the two phases."""

    seed: Annotated[Seed, Meta(description="Of initialisation, batch order and augmentation.")]
    precision: Annotated[
        Precision,
        Meta(description="bfloat16: convolutions in bfloat16, weights kept in float32."),
    ]
    augmentation: AugmentationSettings
    masks: Annotated[
        MaskSettings | None,
        Meta(description="Channel masks and pruning: see preset digits_masks; null: off."),
    ]
    base: Annotated[PhaseSettings, Meta(description="Step 1.")]
    incremental: Annotated[IncrementalSettings, Meta(description="Every later step.")]

    def phase(self, step: int) -> PhaseSettings:
        """How the representation is learned at step ``step``, counted from 1."""
        return self.base if step == 1 else self.incremental

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


class Recipe(Section, frozen=True):
    """What of TrainSettings one step was trained with: its phase alone, the other is None."""

    seed: int
    precision: Precision
    augmentation: AugmentationSettings
    masks: MaskSettings | None
    base: PhaseSettings | None
    incremental: IncrementalSettings | None
