"""Which images are taught."""

from typing import Annotated

from msgspec import Meta

from der.core.errors import UserError
from der.settings.section import SMALLEST, Channels, ImageSide, Section, Seed


class DatasetSettings(Section, frozen=True):
    """Which images are taught, and the form they are brought to."""

    source: Annotated[str, Meta(description="Where the images come from.")]
    path: Annotated[
        str,
        Meta(
            description="What is read: for folder a directory or .zip/.tar with train/<class>/* and, if "
            "there is one, test/<class>/*. It must exist whatever the source."
        ),
    ]
    downloads: Annotated[
        str, Meta(description="cifar10, cifar100 only: directory where the downloaded archives are kept.")
    ]
    image_side: Annotated[
        ImageSide | None,
        Meta(
            description="Pixels; other images are scaled and centre-cropped to a square of this side; null: "
            "the backbone's, which timm knows."
        ),
    ]
    channels: Annotated[Channels, Meta(description="1 grey, 3 colour.")]
    test_fraction: Annotated[
        float,
        Meta(
            ge=SMALLEST,
            lt=1,
            description="Fraction of each class's images held out, where the source has no test images.",
        ),
    ]
    seed: Annotated[Seed, Meta(description="Of the draw of test images.")]

    def __post_init__(self) -> None:
        if self.path.startswith("~"):
            raise UserError("path: DVC does not expand '~'; write the path in full")

    @property
    def side(self) -> int:
        """``image_side``, which is known wherever images are read: see ``der.pipeline.input_side``."""
        assert self.image_side is not None
        return self.image_side
