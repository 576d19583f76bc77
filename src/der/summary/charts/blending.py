"""Colours between colours, all "#RRGGBB"."""

from collections.abc import Sequence


def blend(colours: Sequence[str], share: float) -> str:
    """The colour at ``share``, from 0 to 1, of the way through evenly spaced ``colours``."""
    place = share * (len(colours) - 1)
    before = min(int(place), len(colours) - 2)
    pairs = zip(_channels(colours[before]), _channels(colours[before + 1]), strict=True)
    mixed = [round(low + (high - low) * (place - before)) for low, high in pairs]
    return "#{:02X}{:02X}{:02X}".format(*mixed)


def _channels(colour: str) -> list[int]:
    return list(bytes.fromhex(colour[1:]))
