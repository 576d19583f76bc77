"""Class names where there is little room."""

import unicodedata
from itertools import count


def one_line(name: str) -> str:
    """``name`` with single spaces, and each accent one with its letter, beside which it would be drawn."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def shortened(text: str, longest: int) -> str:
    """``text``, or its first and last letters if it has more than ``longest``."""
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head]}…{text[head + 1 - longest :]}"


def every_so_many(names: int, room: float) -> int:
    """The least of 1, 2, 5, 10, ... for which every so manieth of ``names`` has ``room``, that of so many."""
    steps = (int(f"{factor}{'0' * power}") for power in count() for factor in (1, 2, 5))
    return next(every for every in steps if names <= every * max(room, 1))
