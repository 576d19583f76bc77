"""Every knob of the pipeline as frozen, checked data; one class per section of params.yaml.

The classes know nothing of YAML or files. Ranges are declared beside each field and checked on
construction; ``der.parsing`` turns nested dictionaries into these classes.
"""

from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal

from der.errors import UserError


@dataclass(frozen=True)
class Range:
    """Closed bounds of a number (or of every number of a list); ``None`` leaves a side open."""

    low: float
    high: float | None = None
    above_low: bool = False  # the lower bound itself is excluded

    def admits(self, value: float) -> bool:
        """Whether ``value`` lies inside; NaN never does."""
        low_ok = value > self.low if self.above_low else value >= self.low
        return low_ok and value < float("inf") and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.above_low else f"of at least {self.low:g}"
        return f"a number {low}" + (f" and at most {self.high:g}" if self.high is not None else "")


def number(low: float, high: float | None = None, *, above_low: bool = False) -> Any:
    """A dataclass field whose value must lie in a range."""
    return field(metadata={"range": Range(low, high, above_low)})


class Section:
    """Base of all sections: checks declared ranges after construction."""

    def __post_init__(self) -> None:
        for entry in fields(self):  # type: ignore[arg-type]
            check_range(entry, getattr(self, entry.name))


def check_range(entry: Field[Any], value: Any) -> None:
    """Raise UserError if ``value`` leaves the range declared for ``entry``."""
    bounds: Range | None = entry.metadata.get("range")
    if bounds is None or value is None:
        return
    for one in value if isinstance(value, list) else [value]:
        if not bounds.admits(one):
            raise UserError(f"{entry.name}: {one} is out of range; write {bounds}")


@dataclass(frozen=True)
class DatasetSettings(Section):
    """Which images are taught, and the form they are brought to."""

    source: Literal["digits", "cifar10", "cifar100", "folder"]
    path: str  # folder source: directory or archive of images
    downloads: str  # cifar sources: where the archives are kept
    image_side: int = number(8, 1024)  # pixels
    channels: Literal[1, 3] = field()
    test_fraction: float = number(0, 1, above_low=True)
    seed: int = number(0, 2**32 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.test_fraction == 1:
            raise UserError("test_fraction: 1 leaves no training images; write a number below 1")
        if self.source == "folder" and self.path.startswith("~"):
            raise UserError("path: DVC does not expand '~'; write the path in full")


@dataclass(frozen=True)
class ProtocolSettings(Section):
    """Which classes arrive at which step."""

    first_classes: int = number(1)
    later_classes: int = number(1)
    class_order: int | list[int] | list[str] | Literal["alphabetical"] = field()
    steps: list[list[str]] | None = field()


@dataclass(frozen=True)
class NetworkSettings(Section):
    """Architecture of every feature extractor, and the normalisation of its input."""

    backbone: Literal["cifar_resnet"]
    depth: int = number(8)
    mean: list[float] | None = number(0, 1)
    std: list[float] | None = number(0, 1, above_low=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.depth - 2) % 6:
            raise UserError(f"depth: {self.depth} is not 6n + 2; write 8, 14, 20, 26, 32, 44, 56 or 110")
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std go together; write both as lists, or both as null")


@dataclass(frozen=True)
class AugmentationSettings(Section):
    """Random changes of training images, applied in this order; zero or false turns one off."""

    crop_padding: int = number(0, 256)  # pixels of zeros on every side before a random crop
    horizontal_flip: bool = field()  # with probability one half
    brightness: float = number(0, 1)  # largest relative change


@dataclass(frozen=True)
class PhaseSettings(Section):
    """Stochastic gradient descent of one phase (base or incremental)."""

    epochs: int = number(1)
    learning_rate: float = number(0, above_low=True)
    milestones: list[int] = number(0)  # epochs, counted from 0, at which the rate decays
    decay: float = number(0, 1, above_low=True)  # factor at each milestone
    weight_decay: float = number(0)
    momentum: float = number(0, 1)
    batch_size: int = number(1)  # images

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.milestones != sorted(set(self.milestones)):
            raise UserError(f"milestones: {self.milestones} do not increase; write each epoch once, in order")


@dataclass(frozen=True)
class IncrementalSettings(PhaseSettings):
    """As PhaseSettings, with what only later steps have."""

    auxiliary_weight: float = number(0)  # lambda_a
    rebalancing: Literal["weight_alignment", "none"] = field()


@dataclass(frozen=True)
class TrainSettings(Section):
    """Training: what all steps share, then the two phases."""

    seed: int = number(0, 2**32 - 1)
    precision: Literal["float32", "bfloat16"] = field()
    augmentation: AugmentationSettings = field()
    base: PhaseSettings = field()
    incremental: IncrementalSettings = field()


@dataclass(frozen=True)
class MemorySettings(Section):
    """How many exemplars of old classes are kept."""

    budget: int = number(1)  # images
    allocation: Literal["total", "per_class"] = field()


@dataclass(frozen=True)
class EvaluateSettings(Section):
    """How the test accuracy is broken down."""

    group_labels: int = number(1)  # labels per accuracy group


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
