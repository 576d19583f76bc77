"""Colours between colours, all "#RRGGBB", and what can be read on them."""

from collections.abc import Sequence

from der.summary.charts.description import Shade, Tone

BLACK, WHITE = "#000000", "#FFFFFF"


def blend(colours: Sequence[str], share: float) -> str:
    """The colour at ``share``, from 0 to 1, of the way through evenly spaced ``colours``."""
    place = share * (len(colours) - 1)
    before = min(int(place), len(colours) - 2)
    pairs = zip(_channels(colours[before]), _channels(colours[before + 1]), strict=True)
    mixed = [round(low + (high - low) * (place - before)) for low, high in pairs]
    return "#{:02X}{:02X}{:02X}".format(*mixed)


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast of two colours, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def shade(light: str, dark: str) -> Shade:
    """The colours of a cell on a light and on a dark page, with text that has a contrast of 4.5 or more."""
    return Shade(_tone(light), _tone(dark))


def _tone(colour: str) -> Tone:
    return Tone(colour, max(BLACK, WHITE, key=lambda text: contrast(colour, text)))


def _luminance(colour: str) -> float:
    """Relative luminance in [0, 1] (WCAG 2)."""
    shares = [channel / 255 for channel in _channels(colour)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(colour: str) -> list[int]:
    return list(bytes.fromhex(colour[1:]))
