"""Many pictures decoded side by side, and all that cannot be read named in one message."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from der.common.errors import UserError
from der.data.sources.class_images import Images
from der.data.sources.decoding import read_picture
from der.settings.dataset import DatasetSettings

MOST_THREADS = 8  # each holds a whole picture in memory
MOST_NAMED = 20  # pictures in a message


class Picture(NamedTuple):
    """A picture that is to be decoded."""

    place: str  # where it is, for messages
    content: Path | bytes  # the file, or what is in it


class Fault(NamedTuple):
    """A picture that cannot be read."""

    place: str
    sentence: str


Decode = Callable[[Sequence[Picture]], tuple[Images, list[Fault]]]


@contextmanager
def decoder(settings: DatasetSettings) -> Iterator[Decode]:
    """A function that decodes pictures to uint8 (n, image_side, image_side, channels), in their order.

    It also returns those that cannot be read, whose pixels are left as they happen to be.
    """
    # Two threads that open pictures while Pillow still loads its formats can miss one.
    Image.init()
    side, channels = settings.side, settings.channels
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:

        def decode(pictures: Sequence[Picture]) -> tuple[Images, list[Fault]]:
            images = np.empty((len(pictures), side, side, channels), np.uint8)

            def read(index: int) -> Fault | None:
                place, content = pictures[index]
                file = io.BytesIO(content) if isinstance(content, bytes) else content
                try:
                    images[index] = read_picture(file, place, side, channels)
                except UserError as error:
                    return Fault(place, str(error))
                return None

            return images, [*filter(None, pool.map(read, range(len(pictures))))]

        yield decode


def describe(faults: Sequence[Fault]) -> str:
    """One sentence about all pictures that cannot be read."""
    if len(faults) == 1:
        return faults[0].sentence
    names = ", ".join(fault.place for fault in faults[:MOST_NAMED])
    more = f" and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
    return f"{len(faults)} pictures cannot be read or are too large; repair or remove them: {names}{more}"
