"""Data sources: each yields its classes one by one, as arrays of uint8."""

import re
import unicodedata
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.settings.sections import DatasetSettings

LONGEST_NAME = 240  # bytes; file systems allow 255, suffixes included
LATER = re.compile(r"(.+)@([1-9][0-9]*)")  # ant@3 is no class: photos of ant, to train on from step 3 on

Images = NDArray[np.uint8]


class ClassImages(NamedTuple):
    """All images of one class; arrays are uint8 (n, image_side, image_side, channels), n >= 1.

    Only photos for a later step, see ``LATER``, may have no test images.
    """

    name: str
    train: Images
    test: Images
    passed_over: int = 0  # skipped files (no pictures by name) since the previous class


def hold_out(name: str, images: Images, settings: DatasetSettings) -> ClassImages:
    """Divide a class's images with ``choose_tests``; training and test images keep their order."""
    is_test = choose_tests(name, len(images), settings)
    return ClassImages(name, images[~is_test], images[is_test])


def choose_tests(name: str, count: int, settings: DatasetSettings) -> NDArray[np.bool_]:
    """Choose which of the ``count`` images of a class are test images; returns a mask.

    The draw depends only on the seed, the class's name and the number of its images, so a new class changes
    no other class. Raises UserError for fewer than two images.
    """
    test_count = count_tests(name, count, settings)
    # RandomState, because its stream is the same in every version of numpy.
    order = np.random.RandomState([settings.seed, *name.encode()]).permutation(count)
    return np.isin(np.arange(count), order[:test_count])


def count_tests(name: str, count: int, settings: DatasetSettings) -> int:
    """Return ``test_fraction`` of ``count``, rounded to nearest; each side gets at least one image.

    Photos for a later step get no test images, so that accuracies before and after are of the same ones.
    """
    if LATER.fullmatch(name):
        return 0
    if count < 2:
        raise UserError(f"{name!r}: {count} images cannot be divided into training and test; add more")
    return min(max(int(count * settings.test_fraction + 0.5), 1), count - 1)


def check_name(name: str) -> None:
    """Raise UserError unless every system allows the class name as the name of a visible file."""
    odd = any(letter in "/\\" or unicodedata.category(letter) in ("Cc", "Cs") for letter in name)
    if odd or not name or name.startswith(".") or len(name.encode()) > LONGEST_NAME:
        raise UserError(
            f"a class name has 1 to {LONGEST_NAME} bytes, no dot in front, and no control characters, "
            "slashes, backslashes or invalid UTF-8; rename it"
        )
