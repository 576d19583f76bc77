"""The sections of params.yaml as frozen records; msgspec checks their types and bounds.

They know nothing of YAML or files.
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
LARGEST_RATE = 1e30  # times a factor, it is still a float32

Seed = Annotated[int, Meta(ge=0, le=LARGEST_SEED)]
Count = Annotated[int, Meta(ge=1, le=MOST)]
CountOrZero = Annotated[int, Meta(ge=0, le=MOST)]
Factor = Annotated[float, Meta(ge=SMALLEST, le=LARGEST_FACTOR)]
FactorOrZero = Annotated[float, Meta(ge=0, le=LARGEST_FACTOR)]
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

    source: Annotated[str, Meta(description="The name of the source of images.")]
    path: Annotated[
        str,
        Meta(
            description="The folder or archive that the source reads: for folder a directory or .zip/.tar "
            "with train/<class>/* and, if there are test images, test/<class>/*. It must exist "
            "for every source."
        ),
    ]
    downloads: Annotated[
        str, Meta(description="The directory of downloaded archives, for cifar10 and cifar100 only.")
    ]
    image_side: Annotated[
        ImageSide | None,
        Meta(
            description="The side of an image in pixels; other images are scaled and centre-cropped to a "
            "square of this side; null: the side that the backbone expects."
        ),
    ]
    channels: Annotated[Channels, Meta(description="Channels of an image: 1 grey, 3 colour.")]
    test_fraction: Annotated[
        float,
        Meta(
            ge=SMALLEST,
            lt=1,
            description="Fraction of each class's images that become test images, where the source has none.",
        ),
    ]
    seed: Annotated[Seed, Meta(description="Seed of the choice of test images.")]

    def __post_init__(self) -> None:
        if self.path.startswith("~"):
            raise UserError("path: DVC does not expand '~'; write the path in full")

    @property
    def side(self) -> int:
        """``image_side`` where images are read: stage check has replaced null by then."""
        assert self.image_side is not None
        return self.image_side


FORMS = "a whole number or a list ([...]) of whole numbers alone or of text (in quotes) alone or alphabetical"
# For the JSON schema alone; __post_init__ checks the same with a clearer message.
SEED: dict[str, Any] = {"minimum": 0, "maximum": LARGEST_SEED}
ALIKE: dict[str, Any] = {
    "minItems": 1,
    "anyOf": [{"items": {"type": kind}} for kind in ("integer", "string")],
}


class ProtocolSettings(Section, frozen=True):
    """Which classes arrive at which step."""

    first_classes: Annotated[Count | None, Meta(description="Classes at step 1; null: all there are.")]
    later_classes: Annotated[
        Count, Meta(description="Classes at every later step; a remainder goes to the last one.")
    ]
    class_order: Annotated[
        Annotated[int, Meta(extra_json_schema=SEED)]
        | Annotated[list[Annotated[int, Meta(extra_json_schema=SEED)] | str], Meta(extra_json_schema=ALIKE)]
        | Literal["alphabetical"],
        Meta(description="alphabetical, a seed (1993), a list of seeds ([1993]) or all class names."),
    ]
    steps: Annotated[
        list[list[str]] | None,
        Meta(
            description="Instead of the three above: a list of class names for every step, "
            "[[cat, dog], [bird]]."
        ),
    ]

    def __post_init__(self) -> None:
        seeds = self.class_order if isinstance(self.class_order, list) else [self.class_order]
        if not seeds:
            raise UserError("class_order: is empty; write alphabetical, a seed, or all class names")
        if len({isinstance(one, int) for one in seeds}) > 1:
            raise UserError(f"class_order: {self.class_order!r} does not fit; write {FORMS}")
        for seed in seeds:
            if isinstance(seed, int) and not 0 <= seed <= LARGEST_SEED:
                raise UserError(
                    f"class_order: {seed} is no seed; write whole numbers from 0 to {LARGEST_SEED}"
                )


SPLITS = ("train", "test")  # names of the folders of training and test images
PRETRAINED = "pretrained"  # in place of a file: the weights that come with the backbone


class NetworkSettings(Section, frozen=True, omit_defaults=True):
    """Architecture of every feature extractor, of the classifier, and the normalisation of its input.

    The backbones check depth, stem, weights and tuned. A classifier that training draws again, after warm-up
    or for classifier learning, is always torch_uniform.
    """

    backbone: Annotated[str, Meta(description="The feature extractor.")]
    depth: Annotated[
        int,
        Meta(
            ge=8,
            le=1202,  # the deepest that He et al. trained
            description="Number of weighted layers: 6n + 2 for cifar_resnet, 18 or 34 for resnet; timm's "
            "models ignore it.",
        ),
    ]
    stem: Annotated[
        Literal["small", "large"],
        Meta(
            description="First layers: small, a 3x3 convolution; large, 7x7 and max-pool, for images of 100 "
            "pixels and more; timm's models ignore it."
        ),
    ]
    head_bias: Annotated[bool, Meta(description="Whether the classifiers have biases.")]
    head_initialization: Annotated[
        str,
        Meta(
            description="torch_uniform: weights and biases uniform in +-1/sqrt(features); lecun_uniform: "
            "weights in +-sqrt(3/features), biases 0; lecun_normal: deviation 1/sqrt(features), biases 0."
        ),
    ]
    inherit_head: Annotated[
        bool, Meta(description="Whether a step's classifier starts with the weights that old classes had.")
    ]
    expansion: Annotated[
        bool,
        Meta(
            description="true: every step adds an extractor; false: one extractor goes on training (an "
            "ablation)."
        ),
    ]
    mean: Annotated[
        list[Share] | None,
        Meta(
            description="Mean of each channel, of pixels in [0, 1]; null: the backbone's, or that of "
            "step 1's training images."
        ),
    ]
    std: Annotated[
        list[Deviation] | None, Meta(description="Standard deviation of each channel; null as for mean.")
    ]
    weights: Annotated[
        str | None,
        Meta(
            description="Weights that a timm model starts from; null: random; pretrained: timm's own, "
            "downloaded; or a file, .safetensors or PyTorch's."
        ),
    ] = None
    tuned: Annotated[
        Literal["all", "last", "none"],
        Meta(
            description="The part of a pretrained extractor that a step trains; all; last: its last stage; "
            "none: nothing, only a classifier is fitted on the features of all images of all classes."
        ),
    ] = "all"

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std go together; write both as lists, or both as null")

    @property
    def grows(self) -> bool:
        """Tell whether every step adds an extractor: an extractor that is never trained is not added."""
        return self.expansion and self.tuned != "none"


class MemorySettings(Section, frozen=True):
    """How many exemplars of old classes are kept."""

    budget: Annotated[
        Count,
        Meta(
            description="Number of exemplars (images), of all classes together or of each class; see "
            "allocation."
        ),
    ]
    allocation: Annotated[
        Literal["total", "per_class"],
        Meta(description="total: budget // classes seen for each class; per_class: budget for each class."),
    ]
    selection: Annotated[str, Meta(description="How exemplars are chosen; random is an ablation.")]
    seed: Annotated[Seed, Meta(description="Seed of random selection.")]


class EvaluateSettings(Section, frozen=True):
    """How the test accuracy is broken down."""

    group_labels: Annotated[
        Count, Meta(description="Number of labels in a group, for the accuracy by groups of labels.")
    ]


Precision = Literal["float32", "bfloat16"]  # torch's names
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


Policy = Literal["autoaugment", "trivial"]
NO_CUTMIX = 0.0


class AugmentationSettings(Section, frozen=True, omit_defaults=True):
    """Random changes of training images, applied in this order; zero, false or null turns one off."""

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
    horizontal_flip: Annotated[bool, Meta(description="Flip images from left to right with probability 1/2.")]
    brightness: Annotated[
        Share, Meta(description="b: multiply pixels by a factor drawn from 1 - b to 1 + b; 0 turns it off.")
    ]
    policy: Annotated[
        Policy | None,
        Meta(
            description="autoaugment: the policy of Cubuk et al. (2019) for CIFAR-10; trivial: "
            "TrivialAugment's wide space (Müller, Hutter 2021); null: off."
        ),
    ] = None
    cutout: Annotated[
        CountOrZero, Meta(description="Side in pixels of a square of the mean colour; 0 turns it off.")
    ] = 0
    cutmix: Annotated[
        FactorOrZero,
        Meta(
            description="alpha of CutMix's Beta distribution; it acts in representation learning only; 0 "
            "turns it off."
        ),
    ] = NO_CUTMIX

    def __post_init__(self) -> None:
        if not self.cutmix:  # msgspec leaves out only this very object
            force_setattr(self, "cutmix", NO_CUTMIX)
        crop = self.resized_crop
        if crop is not None and (len(crop) != 2 or crop[0] > crop[1]):
            raise UserError("resized_crop: write the smallest and the largest fraction, [0.08, 1.0], or null")


class ScheduleSettings(Section, frozen=True):
    """Stochastic gradient descent over epochs."""

    epochs: Annotated[Count, Meta(description="Passes over the training images.")]
    learning_rate: Annotated[
        float, Meta(ge=SMALLEST, le=LARGEST_RATE, description="Learning rate of stochastic gradient descent.")
    ]
    milestones: Annotated[
        Annotated[list[CountOrZero], Meta(extra_json_schema={"uniqueItems": True})],
        Meta(description="Epochs, counted from 0, at which the rate is multiplied by decay."),
    ]
    decay: Annotated[ShareAboveZero, Meta(description="Factor of the rate at each milestone.")]
    weight_decay: Annotated[FactorOrZero, Meta(description="Factor of the weights' L2 penalty.")]
    momentum: Annotated[Share, Meta(description="Momentum of stochastic gradient descent.")]
    batch_size: Annotated[Count, Meta(description="Images in a batch.")]
    warmup_epochs: Annotated[
        CountOrZero, Meta(description="Epochs over which the rate rises linearly; milestones count them.")
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


# What rebalancing names, and the functions that do it, which need torch.
REBALANCINGS = {
    "weight_alignment": "der.train.step:weight_alignment",
    "classifier_learning": "der.train.step:classifier_learning",
    "logistic": "der.train.step:logistic",
    "lda": "der.train.step:lda",
    "none": "der.train.step:no_rebalancing",
}


class DistillationSettings(Section, frozen=True):
    """Weights of what a step learns from the previous network (see der.train.objective.Distillation)."""

    features: Annotated[
        FactorOrZero,
        Meta(
            description="Weight of the distance between new and old features of old classes; 0 turns it off."
        ),
    ] = 0.0
    logits: Annotated[
        FactorOrZero,
        Meta(description="Weight of the distance between new and old logits of old classes; 0 turns it off."),
    ] = 0.0


NO_DISTILLATION = DistillationSettings()


class IncrementalSettings(PhaseSettings, frozen=True, omit_defaults=True):
    """Like PhaseSettings, with the settings that only later steps have."""

    auxiliary_weight: Annotated[
        FactorOrZero, Meta(description="lambda_a, weight of the auxiliary classifier's loss.")
    ]
    rebalancing: Annotated[
        str, Meta(description="The method that removes the classifier's bias towards new classes.")
    ]
    classifier: Annotated[
        ClassifierSettings,
        Meta(description="The schedule of classifier_learning; other rebalancings ignore it."),
    ]
    distillation: Annotated[
        DistillationSettings, Meta(description="What a step learns from the previous network (TCIL).")
    ] = NO_DISTILLATION

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distillation == NO_DISTILLATION:  # msgspec leaves out only this very object
            force_setattr(self, "distillation", NO_DISTILLATION)


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


class CompressSettings(Section, frozen=True):
    """Training one extractor on the whole network's outputs, as FOSTER does (Wang et al., ECCV 2022).

    Seed, precision and augmentation are those of section train.
    """

    steps: Annotated[
        Literal["last", "all"] | None,
        Meta(description="After which steps: last: the protocol's last; all; null: none."),
    ] = None
    epochs: Annotated[Count, Meta(description="Passes over the training images.")] = 40
    learning_rate: Annotated[
        float,
        Meta(ge=SMALLEST, le=LARGEST_RATE, description="A tenth after 1/2, a hundredth after 4/5 of epochs."),
    ] = 0.1
    batch_size: Annotated[Count, Meta(description="Images.")] = 32
    temperature: Annotated[Factor, Meta(description="Divides the logits of both networks.")] = 2.0
    beta: Annotated[
        float, Meta(ge=0, lt=1, description="Classes weigh 1 / (1 - beta^images); 0: all the same.")
    ] = 0.97

    @property
    def schedule(self) -> ScheduleSettings:
        """The schedule of the epochs."""
        ends = sorted({self.epochs // 2, 4 * self.epochs // 5} - {0})
        return ScheduleSettings(self.epochs, self.learning_rate, ends, 0.1, 0.0, 0.9, self.batch_size, 0)


ConvexMethod = Literal["auto", "logistic", "lda"]


class TrainSettings(Section, frozen=True):
    """Training: the settings of all steps, then of the two phases."""

    seed: Annotated[Seed, Meta(description="Seed of initialisation, batch order and augmentation.")]
    precision: Annotated[
        Precision, Meta(description="bfloat16: convolutions in bfloat16, weights kept in float32.")
    ]
    augmentation: AugmentationSettings
    masks: Annotated[
        MaskSettings | None,
        Meta(description="Channel masks and pruning: see preset digits_masks; null: off."),
    ]
    base: Annotated[PhaseSettings, Meta(description="The schedule of step 1.")]
    incremental: Annotated[IncrementalSettings, Meta(description="The schedule of every later step.")]
    averaging: Annotated[
        ShareAboveZero | None,
        Meta(description="Share of a step's last epochs over which weights are averaged; null: off."),
    ] = None
    classifier: Annotated[
        ConvexMethod,
        Meta(
            description="The classifier on the features of a frozen network (network.tuned: none): logistic "
            "regression, linear discriminant analysis, or auto: the mean of both."
        ),
    ] = "auto"
    shrinkage: Annotated[
        ShareAboveZero | None,
        Meta(
            description="Shrinkage of the covariance within classes, for logistic and lda, as classifier or "
            "as rebalancing; null: cross-validation on the training images weighs some."
        ),
    ] = None

    def phase(self, step: int) -> PhaseSettings:
        """Return the settings of representation learning at step ``step``, counted from 1."""
        return self.base if step == 1 else self.incremental

    def recipe(self, step: int) -> "Recipe":
        """Return the settings of step ``step``, counted from 1."""
        return Recipe(
            self.seed,
            self.precision,
            self.augmentation,
            self.masks,
            base=self.base if step == 1 else None,
            incremental=self.incremental if step > 1 else None,
            averaging=self.averaging,
            classifier=self.classifier,
            shrinkage=self.shrinkage,
        )


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
