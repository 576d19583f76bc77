"""Which images are taught."""

from dataclasses import dataclass
from typing import Annotated, Literal

from der.common.errors import UserError
from der.settings.ranges import Range, Section


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
