"""How many pixels are decoded at once: large pictures wait for one another, whoever decodes them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_longlong
from multiprocessing.context import BaseContext
from multiprocessing.synchronize import Condition
from typing import NamedTuple

MOST_AT_ONCE = 128_000_000  # pixels; each takes 4 to 8 bytes until the picture is scaled down


class Taken(NamedTuple):
    """The number of pixels that are being decoded, and what is told of its changes."""

    pixels: c_longlong
    changed: threading.Condition | Condition


class Room:
    """Pixels that threads decode at once, or processes too, all of which share one ``Taken``."""

    def __init__(self) -> None:
        self._taken = Taken(c_longlong(), threading.Condition())

    def share(self, taken: Taken) -> None:
        """Count with other processes, which were given the same as they started."""
        self._taken = taken

    @contextmanager
    def taking(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many pixels, and take it; one picture alone always has room."""
        count, changed = self._taken
        pixels = min(pixels, MOST_AT_ONCE)
        with changed:
            changed.wait_for(lambda: count.value + pixels <= MOST_AT_ONCE)
            count.value += pixels
        try:
            yield
        finally:
            with changed:
                count.value -= pixels
                changed.notify_all()


ROOM = Room()  # of this process


def taken_by_processes(context: BaseContext) -> Taken:
    """What processes of the context share."""
    return Taken(context.RawValue(c_longlong), context.Condition())
