"""What every source yields, and the draw of test images where a source has none of its own."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.settings.sections import DatasetSettings

Images = NDArray[np.uint8]


class ClassImages(NamedTuple):
    """All images of one class; arrays are uint8 (n, image_side, image_side, channels), n >= 1."""

    name: str
    train: Images
    test: Images
    passed_over: int = 0  # files that are no pictures by their names, found since the class before


def hold_out(name: str, images: Images, settings: DatasetSettings) -> ClassImages:
    """Divide one class's images into training and test images, both in the order given.

    See ``choose_tests``.
    """
    is_test = choose_tests(name, len(images), settings)
    return ClassImages(name, images[~is_test], images[is_test])


def choose_tests(name: str, count: int, settings: DatasetSettings) -> NDArray[np.bool_]:
    """Which of a class's ``count`` images are test images, as a mask.

    Their number is ``test_fraction`` of them, rounded to nearest, but leaves each side at
    least one. Which ones depends on the seed, the class's name and the number of its images alone, so
    that adding a class moves no image of another. Raises UserError for fewer than two images.
    """
    if count < 2:
        raise UserError(f"{name!r}: {count} images cannot be divided into training and test; add more")
    test_count = min(max(int(count * settings.test_fraction + 0.5), 1), count - 1)
    # RandomState, because its stream is the same in every version of numpy.
    order = np.random.RandomState([settings.seed, *name.encode()]).permutation(count)
    is_test = np.zeros(count, dtype=bool)
    is_test[order[:test_count]] = True
    return is_test
