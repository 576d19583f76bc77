"""How many exemplars are kept."""

from dataclasses import dataclass
from typing import Annotated, Literal

from der.settings.ranges import MOST, Range, Section


@dataclass(frozen=True)
class MemorySettings(Section):
    """How many exemplars of old classes are kept."""

    budget: Annotated[int, Range(1, MOST)]  # images
    allocation: Literal["total", "per_class"]
    selection: Literal["herding", "random"]
    seed: Annotated[int, Range(0, 2**32 - 1)]  # of random selection
