"""scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels, ten classes, no download."""

from collections.abc import Generator

import numpy as np

from der.data.sources.class_images import ClassImages, hold_out
from der.data.sources.decoding import resize_all
from der.settings.sections import DatasetSettings

BRIGHTEST = 16  # the data set's white


def digits(settings: DatasetSettings) -> Generator[ClassImages, None, None]:
    """Yield the classes "0" to "9"; the grey levels 0..16 become 0..255."""
    # Here, because it takes a second that the other sources need not spend.
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    data = load_digits()
    pixels = np.rint(data.images * (255 / BRIGHTEST)).astype(np.uint8)
    for digit in range(10):
        images = resize_all(pixels[data.target == digit], settings.side, settings.channels)
        yield hold_out(str(digit), images, settings)
