"""Which classes arrive at which step."""

from dataclasses import dataclass
from typing import Annotated, Literal

from der.common.errors import UserError
from der.settings.ranges import MOST, Range, Section


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
