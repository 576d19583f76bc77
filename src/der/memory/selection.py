"""Selections of a class's exemplars, by name: what memory.selection chooses from.

To add one, write a function like ``at_random`` and name it in SELECTIONS.

# N images of a class, D features
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from der.memory.herding import herd
from der.settings.memory import MemorySettings

# Of the features of a class's training images (N, D), how many exemplars are wanted, the settings and the
# class's label; returns the indices of min(wanted, N) images, in the order in which they are kept longest.
Selection = Callable[[NDArray[np.float32], int, MemorySettings, int], NDArray[np.int64]]


def by_herding(
    features_ND: NDArray[np.float32], exemplars: int, settings: MemorySettings, label: int
) -> NDArray[np.int64]:
    """The method of iCaRL."""
    return herd(features_ND, exemplars)


def at_random(
    features_ND: NDArray[np.float32], exemplars: int, settings: MemorySettings, label: int
) -> NDArray[np.int64]:
    """An ablation; the draw depends on seed, label and number of images alone."""
    order: NDArray[np.int64] = np.random.RandomState([settings.seed, label]).permutation(len(features_ND))
    return order[:exemplars]


SELECTIONS: dict[str, Selection] = {"herding": by_herding, "random": at_random}
