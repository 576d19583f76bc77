"""Ranges of numbers, declared beside each setting and checked on construction."""

from dataclasses import dataclass
from typing import Any, get_type_hints

from der.common.errors import UserError

# Beyond these, torch's integers or float32 would overflow.
MOST = 2**31 - 1  # of anything that is counted
LARGEST_FACTOR = 10**6
LARGEST_RATE = 1e30  # times a factor, it is still a float32


@dataclass(frozen=True)
class Range:
    """Closed bounds of a number (or of every number of a list)."""

    low: float
    high: float
    above_low: bool = False  # the lower bound itself is excluded
    below_high: bool = False  # likewise the upper one

    def admits(self, value: float) -> bool:
        """Whether ``value`` lies inside; NaN never does."""
        low_ok = value > self.low if self.above_low else value >= self.low
        return low_ok and (value < self.high if self.below_high else value <= self.high)

    def __str__(self) -> str:
        low = f"above {self.low}" if self.above_low else f"of at least {self.low}"
        high = f"below {self.high}" if self.below_high else f"at most {self.high}"
        return f"a number {low} and {high}"


class Section:
    """Base of all sections: checks the ranges that annotations declare, after construction."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            for bounds in getattr(hint, "__metadata__", ()):
                check_range(name, bounds, getattr(self, name))


def check_range(name: str, bounds: Range, value: Any) -> None:
    """Raise UserError if ``value``, or a number of it, leaves ``bounds``."""
    for one in value if isinstance(value, list) else [value]:
        if one is not None and not bounds.admits(one):
            raise UserError(f"{name}: {one} is out of range; write {bounds}")
