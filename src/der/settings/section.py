"""What every section of params.yaml is: a frozen record whose declared types and bounds msgspec checks."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

LARGEST_SEED = 2**32 - 1  # numpy's
SMALLEST_SIDE, LARGEST_SIDE = 8, 1024  # pixels of an image
# Beyond these, torch's integers or float32 would overflow.
MOST = 2**31 - 1  # of anything that is counted
LARGEST_FACTOR = 10**6
# For what is above 0: where a processor flushes the numbers next to 0, msgspec's own bound takes 0, too.
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
    """Base of all sections. Bounds hold for what ``parse`` reads, ``__post_init__`` for every record."""


def to_values(record: msgspec.Struct) -> dict[str, Any]:
    """A section, or a record that holds some, as nested dictionaries, lists, text, numbers and None.

    Keys stand in the order in which they are declared, as network.json keeps them.
    """
    values: dict[str, Any] = msgspec.to_builtins(record)
    return values
