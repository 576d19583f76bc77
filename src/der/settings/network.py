"""The architecture."""

from dataclasses import dataclass
from typing import Annotated, Literal

from der.common.errors import UserError
from der.settings.ranges import Range, Section


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
