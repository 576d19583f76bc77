"""The sections of params.yaml as frozen records; msgspec checks their types and bounds.

They know nothing of YAML or files. descriptions.yaml says what each setting means.
"""

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from der.core.errors import UserError

LARGEST_SEED = 2**32 - 1  # numpy's
SMALLEST_SIDE, LARGEST_SIDE = 8, 1024  # pixels of an image
# Beyond these, torch's integers or float32 would overflow.
MOST = 2**31 - 1  # of anything that is counted
LARGEST_FACTOR = 10**6
# Lower bound of what is above 0: a bound of gt=0 admits 0 where the processor flushes tiny numbers to 0.
SMALLEST = 1e-12
LEAST_DEVIATION = 1e-6  # of pixels in [0, 1]

Seed = Annotated[int, Meta(ge=0, le=LARGEST_SEED)]
Count = Annotated[int, Meta(ge=1, le=MOST)]
CountOrZero = Annotated[int, Meta(ge=0, le=MOST)]
Factor = Annotated[float, Meta(ge=SMALLEST, le=LARGEST_FACTOR)]
FactorOrZero = Annotated[float, Meta(ge=0, le=LARGEST_FACTOR)]
Rate = Annotated[float, Meta(ge=SMALLEST, le=1e30)]  # times a factor, it is still a float32
Share = Annotated[float, Meta(ge=0, le=1)]
ShareAboveZero = Annotated[float, Meta(ge=SMALLEST, le=1)]
Deviation = Annotated[float, Meta(ge=LEAST_DEVIATION, le=1)]
ImageSide = Annotated[int, Meta(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]
Channels = Literal[1, 3]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all sections. ``parse`` checks bounds; ``__post_init__`` also runs for records made in code."""


def to_values(record: msgspec.Struct) -> dict[str, Any]:
    """Convert a section to dictionaries, lists and values; keys keep their order, which network.json has."""
    values: dict[str, Any] = msgspec.to_builtins(record)
    return values


def all_values(record: msgspec.Struct) -> dict[str, Any]:
    """Convert like ``to_values``, with the defaults that some sections leave out."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return {
        name: all_values(value) if isinstance(value, msgspec.Struct) else msgspec.to_builtins(value)
        for name, value in fields.items()
    }


class DatasetSettings(Section, frozen=True):
    """The images of the experiment, and their form."""

    source: str
    path: str
    downloads: str
    image_side: ImageSide | None
    channels: Channels
    test_fraction: Annotated[float, Meta(ge=SMALLEST, lt=1)]
    seed: Seed

    def __post_init__(self) -> None:
        if self.path.startswith("~"):
            raise UserError("path: DVC does not expand '~'; write the path in full")

    @property
    def side(self) -> int:
        """``image_side`` where images are read: stage check has replaced null by then."""
        assert self.image_side is not None
        return self.image_side


FORMS = "alphabetical, a whole number, a list of whole numbers, or a list of class names (in quotes)"
# For the JSON schema alone; __post_init__ checks the same with a clearer message.
OrderSeed = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": LARGEST_SEED})]
ALIKE: dict[str, Any] = {"minItems": 1, "anyOf": [{"items": {"type": one}} for one in ("integer", "string")]}
Named = Literal["alphabetical", "authors_0", "icarl_1993", "podnet_1", "podnet_2", "podnet_3"]
ClassOrder = OrderSeed | Annotated[list[OrderSeed | str], Meta(extra_json_schema=ALIKE)] | Named


class ProtocolSettings(Section, frozen=True):
    """Which classes arrive at which step."""

    first_classes: Count | None
    later_classes: Count
    class_order: ClassOrder
    steps: list[list[str]] | None

    def __post_init__(self) -> None:
        seeds = self.class_order if isinstance(self.class_order, list) else [self.class_order]
        if not seeds:
            raise UserError("class_order: is empty; write alphabetical, a seed, or all class names")
        if len({isinstance(one, int) for one in seeds}) > 1:
            raise UserError(f"class_order: {self.class_order!r} does not fit; write {FORMS}")
        for seed in (one for one in seeds if isinstance(one, int) and not 0 <= one <= LARGEST_SEED):
            raise UserError(f"class_order: {seed} is no seed; write whole numbers from 0 to {LARGEST_SEED}")


SPLITS = ("train", "test")  # names of the folders of training and test images
PRETRAINED = "pretrained"  # in place of a file: the weights that come with the backbone


class NetworkSettings(Section, frozen=True, omit_defaults=True):
    """Architecture of every feature extractor, of the classifier, and the normalisation of its input.

    The backbones check depth, stem, weights and tuned. Where training draws a classifier anew (after
    warm-up, for classifier learning), it is by torch_uniform.
    """

    backbone: str
    depth: Annotated[int, Meta(ge=8, le=1202)]  # the deepest that He et al. trained
    stem: Literal["small", "large"]
    head_bias: bool
    head_initialization: str
    inherit_head: bool
    expansion: bool
    mean: list[Share] | None
    std: list[Deviation] | None
    weights: str | None = None
    tuned: Literal["all", "last", "none"] = "all"

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std go together; write both as lists, or both as null")

    @property
    def grows(self) -> bool:
        """Tell whether every step adds an extractor: an extractor that is never trained is not added."""
        return self.expansion and self.tuned != "none"


class MemorySettings(Section, frozen=True):
    """How many exemplars of old classes are kept."""

    budget: Count
    allocation: Literal["total", "per_class"]
    selection: str
    seed: Seed


class EvaluateSettings(Section, frozen=True):
    """How the test accuracy is broken down."""

    group_labels: Count


Precision = Literal["float32", "bfloat16"]  # torch's names
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Policy = Literal["autoaugment", "trivial"]
NO_CUTMIX = 0.0
PAIR: dict[str, Any] = {"minItems": 2, "maxItems": 2}  # like ALIKE


class AugmentationSettings(Section, frozen=True, omit_defaults=True):
    """Random changes of training images, applied in this order; zero, false or null turns one off."""

    resized_crop: Annotated[list[ShareAboveZero], Meta(extra_json_schema=PAIR)] | None
    crop_padding: Annotated[int, Meta(ge=0, le=256)]
    horizontal_flip: bool
    brightness: Share
    policy: Policy | None = None
    cutout: CountOrZero = 0
    cutmix: FactorOrZero = NO_CUTMIX

    def __post_init__(self) -> None:
        if not self.cutmix:  # msgspec leaves out only this very object
            force_setattr(self, "cutmix", NO_CUTMIX)
        crop = self.resized_crop
        if crop is not None and (len(crop) != 2 or crop[0] > crop[1]):
            raise UserError("resized_crop: write the smallest and the largest fraction, [0.08, 1.0], or null")


class ScheduleSettings(Section, frozen=True):
    """Stochastic gradient descent over epochs."""

    epochs: Count
    learning_rate: Rate
    milestones: Annotated[list[CountOrZero], Meta(extra_json_schema={"uniqueItems": True})]
    decay: ShareAboveZero
    weight_decay: FactorOrZero
    momentum: Share
    batch_size: Count
    warmup_epochs: CountOrZero

    def __post_init__(self) -> None:
        if self.milestones != sorted(set(self.milestones)):
            raise UserError(f"milestones: {self.milestones} do not increase; write each epoch once, in order")


class PhaseSettings(ScheduleSettings, frozen=True):
    """Representation learning of one phase (base or incremental)."""

    reinitialize_heads: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reinitialize_heads and not self.warmup_epochs:
            fault = "reinitialize_heads: there is no warm-up to end"
            raise UserError(f"{fault}; write false, or warmup_epochs above 0")
        if self.reinitialize_heads and self.warmup_epochs >= self.epochs:
            fault = f"reinitialize_heads: warm-up ends after all {self.epochs} epochs"
            raise UserError(f"{fault}; write false, or fewer warmup_epochs")


class ClassifierSettings(ScheduleSettings, frozen=True):
    """The classifier learning stage (DER, section 3.4)."""

    temperature: Factor


# What rebalancing names, and the functions that do it, which need torch.
REBALANCINGS = {
    "weight_alignment": "der.train.step:weight_alignment",
    "classifier_learning": "der.train.step:classifier_learning",
    "logistic": "der.train.step:refit",
    "lda": "der.train.step:refit",
    "none": "der.train.step:no_rebalancing",
}


class DistillationSettings(Section, frozen=True):
    """Weights of what a step learns from the previous network (see der.train.objective.Distillation)."""

    features: FactorOrZero = 0.0
    logits: FactorOrZero = 0.0


NO_DISTILLATION = DistillationSettings()


class IncrementalSettings(PhaseSettings, frozen=True, omit_defaults=True):
    """Like PhaseSettings, with the settings that only later steps have."""

    auxiliary_weight: FactorOrZero
    rebalancing: str
    classifier: ClassifierSettings
    distillation: DistillationSettings = NO_DISTILLATION

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distillation == NO_DISTILLATION:  # msgspec leaves out only this very object
            force_setattr(self, "distillation", NO_DISTILLATION)


class MaskSettings(Section, frozen=True):
    """Channel masks and pruning (DER, section 3.3)."""

    sparsity_weight: FactorOrZero
    sharpness: Annotated[float, Meta(gt=1, le=LARGEST_FACTOR)]
    rate_factor: Factor
    start_mean: Annotated[float, Meta(ge=-6, le=6)]
    start_deviation: FactorOrZero


class CompressSettings(Section, frozen=True):
    """Training one extractor on the whole network's outputs, as FOSTER does (Wang et al., ECCV 2022).

    Seed, precision and augmentation are those of section train.
    """

    steps: Literal["last", "all"] | None = None
    epochs: Count = 40
    learning_rate: Rate = 0.1
    batch_size: Count = 32
    temperature: Factor = 2.0
    beta: Annotated[float, Meta(ge=0, lt=1)] = 0.97

    @property
    def schedule(self) -> ScheduleSettings:
        ends = sorted({self.epochs // 2, 4 * self.epochs // 5} - {0})
        return ScheduleSettings(self.epochs, self.learning_rate, ends, 0.1, 0.0, 0.9, self.batch_size, 0)


ConvexMethod = Literal["auto", "logistic", "lda"]


class TrainSettings(Section, frozen=True):
    """Training: the settings of all steps, then of step 1 (base) and of the later ones."""

    seed: Seed
    precision: Precision
    augmentation: AugmentationSettings
    masks: MaskSettings | None
    base: PhaseSettings
    incremental: IncrementalSettings
    averaging: ShareAboveZero | None = None
    classifier: ConvexMethod = "auto"
    shrinkage: ShareAboveZero | None = None

    def phase(self, step: int) -> PhaseSettings:
        """Return the settings of representation learning at step ``step``, counted from 1."""
        return self.base if step == 1 else self.incremental

    def recipe(self, step: int) -> "Recipe":
        """Return the settings of step ``step``, counted from 1."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return Recipe(**values | {"base" if step > 1 else "incremental": None})


class Recipe(Section, frozen=True, omit_defaults=True):
    """The part of TrainSettings that trained one step: only its phase, the other one is None."""

    seed: int
    precision: Precision
    augmentation: AugmentationSettings
    masks: MaskSettings | None
    base: PhaseSettings | None
    incremental: IncrementalSettings | None
    averaging: float | None = None
    classifier: ConvexMethod = "auto"
    shrinkage: float | None = None
