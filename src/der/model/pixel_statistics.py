"""Mean and standard deviation of pixels, by which images are normalised."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from der.settings.sections import Deviation, Section, Share


class Normalization(Section, frozen=True):
    """Per-channel mean and standard deviation of pixels in [0, 1]."""

    mean: list[Share]
    std: list[Deviation]


def measure_normalization(arrays: Iterable[NDArray[np.uint8]]) -> Normalization:
    """Mean and deviation over all pixels of images (n, H, W, C), an array after the other.

    A channel that never varies gets deviation 1, so that it maps to zero.
    """
    histogram: NDArray[np.int64] | None = None
    for images in arrays:
        channels = range(images.shape[-1])
        counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in channels])
        histogram = counts if histogram is None else histogram + counts
    assert histogram is not None
    # From whole-number counts the sums are exact, whatever the order of images.
    values = np.arange(256) / 255
    total = histogram.sum(1)
    mean = histogram @ values / total
    std = np.sqrt(np.maximum(histogram @ values**2 / total - mean**2, 0))
    std = np.where(std > 1e-6, std, 1.0)
    return Normalization(mean.tolist(), std.tolist())
