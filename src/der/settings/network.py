"""The architecture."""

from typing import Annotated, Literal

from msgspec import Meta

from der.core.errors import UserError
from der.settings.section import Deviation, Section, Share

PRETRAINED = "pretrained"  # in place of a file of weights: those that come with the backbone


class NetworkSettings(Section, frozen=True, omit_defaults=True):
    """Architecture of every feature extractor, of the classifier, and the normalisation of its input.

    What a backbone makes of depth, stem, weights and tuned is checked with the backbones. A classifier that
    training draws anew, after warm-up or for classifier learning, is torch_uniform whatever it started from.
    """

    backbone: Annotated[str, Meta(description="The feature extractor.")]
    depth: Annotated[
        int,
        Meta(
            ge=8,
            le=1202,  # the deepest that He et al. trained
            description="Weighted layers: 6n + 2 for cifar_resnet, 18 or 34 for resnet; none of timm's.",
        ),
    ]
    stem: Annotated[
        Literal["small", "large"],
        Meta(
            description="small: 3x3 convolution; large: 7x7 and max-pool, for images of 100 pixels and more; "
            "not of timm's."
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
        bool,
        Meta(description="Whether a step's classifier starts with the weights that old classes had."),
    ]
    expansion: Annotated[
        bool,
        Meta(description="A new extractor at every step; false: one that goes on training (an ablation)."),
    ]
    mean: Annotated[
        list[Share] | None,
        Meta(
            description="Per channel, of pixels in [0, 1]; null: the backbone's, or measured on step 1's "
            "training images where it has none."
        ),
    ]
    std: Annotated[
        list[Deviation] | None,
        Meta(description="Standard deviation, likewise."),
    ]
    weights: Annotated[
        str | None,
        Meta(
            description="timm only, what the first extractor starts from: null: random; pretrained: timm's "
            "own, downloaded; a .safetensors file, or any other of PyTorch's."
        ),
    ] = None
    tuned: Annotated[
        Literal["all", "last", "none"],
        Meta(
            description="How much of an extractor with such weights a step trains: all; last: its last "
            "stage; none: one extractor serves all steps, and the classifier alone learns."
        ),
    ] = "all"

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std go together; write both as lists, or both as null")

    @property
    def grows(self) -> bool:
        """Whether every step adds an extractor: one that would not be trained adds nothing."""
        return self.expansion and self.tuned != "none"
