"""Every knob of the pipeline as frozen, checked data; one class per section of params.yaml.

The classes know nothing of YAML or files. Ranges are declared beside each field and checked on
construction; ``der.common.parsing`` turns nested dictionaries into these classes.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_type_hints

from der.common.errors import UserError

# Beyond these, torch's integers or float32 would overflow.
MOST = 2**31 - 1  # of anything that is counted
LARGEST_FACTOR = 10**6
LARGEST_RATE = 1e30  # times a factor, it is still a float32


@dataclass(frozen=True)
class Range:
    """Closed bounds of a number (or of every number of a list)."""

    low: float
    high: float
    above_low: bool = False  # the lower bound itself is excluded
    below_high: bool = False  # likewise the upper one

    def admits(self, value: float) -> bool:
        """Whether ``value`` lies inside; NaN never does."""
        low_ok = value > self.low if self.above_low else value >= self.low
        return low_ok and (value < self.high if self.below_high else value <= self.high)

    def __str__(self) -> str:
        low = f"above {self.low}" if self.above_low else f"of at least {self.low}"
        high = f"below {self.high}" if self.below_high else f"at most {self.high}"
        return f"a number {low} and {high}"


class Section:
    """Base of all sections: checks the ranges that annotations declare, after construction."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            for bounds in getattr(hint, "__metadata__", ()):
                check_range(name, bounds, getattr(self, name))


def check_range(name: str, bounds: Range, value: Any) -> None:
    """Raise UserError if ``value``, or a number of it, leaves ``bounds``."""
    for one in value if isinstance(value, list) else [value]:
        if one is not None and not bounds.admits(one):
            raise UserError(f"{name}: {one} is out of range; write {bounds}")


@dataclass(frozen=True)
class DatasetSettings(Section):
    """Which images are taught, and the form they are brought to."""

    source: Literal["digits", "cifar10", "cifar100", "folder"]
    path: str  # folder source: directory or archive of images
    downloads: str  # cifar sources: where the archives are kept
    image_side: Annotated[int, Range(8, 1024)]  # pixels
    channels: Literal[1, 3]
    test_fraction: Annotated[float, Range(0, 1, above_low=True, below_high=True)]
    seed: Annotated[int, Range(0, 2**32 - 1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source == "folder" and self.path.startswith("~"):
            raise UserError("path: DVC does not expand '~'; write the path in full")


@dataclass(frozen=True)
class ProtocolSettings(Section):
    """Which classes arrive at which step."""

    first_classes: Annotated[int, Range(1, MOST)]
    later_classes: Annotated[int, Range(1, MOST)]
    class_order: int | list[int] | list[str] | Literal["alphabetical"]
    steps: list[list[str]] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        seeds = self.class_order if isinstance(self.class_order, list) else [self.class_order]
        if not seeds:
            raise UserError("class_order: is empty; write alphabetical, a seed, or all class names")
        for seed in seeds:
            if isinstance(seed, int) and not 0 <= seed < 2**32:
                raise UserError(f"class_order: {seed} is no seed; write whole numbers from 0 to {2**32 - 1}")


@dataclass(frozen=True)
class NetworkSettings(Section):
    """Architecture of every feature extractor, of the classifier, and the normalisation of its input."""

    backbone: Literal["cifar_resnet", "resnet"]
    depth: Annotated[int, Range(8, 1202)]  # the deepest that He et al. trained
    stem: Literal["small", "large"]
    head_bias: bool
    expansion: bool  # a new extractor at every step; else one goes on training
    mean: Annotated[list[float] | None, Range(0, 1)]
    std: Annotated[list[float] | None, Range(0, 1, above_low=True)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backbone == "cifar_resnet" and (self.depth - 2) % 6:
            raise UserError(f"depth: {self.depth} is not 6n + 2; write 8, 14, 20, 26, 32, 44, 56 or 110")
        if self.backbone == "resnet" and self.depth not in (18, 34):
            raise UserError(f"depth: {self.depth} is no depth of backbone resnet; write 18 or 34")
        if self.backbone == "cifar_resnet" and self.stem == "large":
            raise UserError("stem: large goes with backbone resnet; write small")
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std go together; write both as lists, or both as null")


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


@dataclass(frozen=True)
class MemorySettings(Section):
    """How many exemplars of old classes are kept."""

    budget: Annotated[int, Range(1, MOST)]  # images
    allocation: Literal["total", "per_class"]
    selection: Literal["herding", "random"]
    seed: Annotated[int, Range(0, 2**32 - 1)]  # of random selection


@dataclass(frozen=True)
class EvaluateSettings(Section):
    """How the test accuracy is broken down."""

    group_labels: Annotated[int, Range(1, MOST)]  # labels per accuracy group


@dataclass(frozen=True)
class Settings(Section):
    """The whole of params.yaml."""

    dataset: DatasetSettings
    protocol: ProtocolSettings
    network: NetworkSettings
    train: TrainSettings
    memory: MemorySettings
    evaluate: EvaluateSettings

    def __post_init__(self) -> None:
        mean, channels = self.network.mean, self.dataset.channels
        for name, values in (("mean", mean), ("std", self.network.std)):
            if values is not None and len(values) != channels:
                raise UserError(
                    f"network.{name}: {len(values)} values for images of {channels} channels "
                    f"(dataset.channels); write {channels}"
                )
