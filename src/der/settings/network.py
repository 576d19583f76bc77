"""The architecture."""

from dataclasses import dataclass
from typing import Annotated, Literal

from der.common.errors import UserError
from der.settings.ranges import Range, Section


@dataclass(frozen=True)
class NetworkSettings(Section):
    """Architecture of every feature extractor, of the classifier, and the normalisation of its input."""

    backbone: str  # a name in der.model.backbones
    depth: Annotated[int, Range(8, 1202)]  # the deepest that He et al. trained
    stem: Literal["small", "large"]
    head_bias: bool
    expansion: bool  # a new extractor at every step; else one goes on training
    mean: Annotated[list[float] | None, Range(0, 1)]
    std: Annotated[list[float] | None, Range(0, 1, above_low=True)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std go together; write both as lists, or both as null")
