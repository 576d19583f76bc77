"""Building M_t from M_{t-1} and the step's images (DER, section 3.1; method of iCaRL).

# N images of a class, H and W pixels, C channels, D features
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from der.data.exemplars import Memory
from der.data.image_rows import every_row, join
from der.memory.budget import check_budget, exemplars_per_class
from der.memory.herding import class_mean
from der.memory.selection import find_selection
from der.settings.sections import MemorySettings

# Of several classes: images (N, H, W, C) of each to its features (N, D).
Features = Callable[[Iterable[NDArray[np.uint8]]], Iterable[NDArray[np.float32]]]


def build_memory(
    previous: Memory, new_classes: Sequence[NDArray[np.uint8]], settings: MemorySettings, features: Features
) -> Memory:
    """Reduce the old classes to the first m of their order, select m of each new class, renew all means.

    ``new_classes`` holds each new class's training images in label order; ``features`` computes
    super-features under the current network, without augmentation. Raises UserError if the budget leaves
    no exemplar for a class, and for a selection that does not exist or returns what it should not.

    The result's images are rows of the arrays given, copied when they are read.
    """
    old_classes = len(previous.class_means)
    classes = old_classes + len(new_classes)
    select = find_selection(settings)
    check_budget(settings, classes)
    per_class = exemplars_per_class(settings, classes)
    kept = [previous.indices_of(label)[:per_class] for label in range(old_classes)]
    old = (previous.images.pick(indices).copy() for indices in kept)
    means, start = np.empty((classes, 0), np.float32), len(previous.images)
    for label, features_ND in enumerate(features(old)):
        means = _put(means, label, class_mean(features_ND))
    for images, features_ND in zip(new_classes, features(new_classes), strict=True):
        chosen = select(features_ND, per_class, settings, len(kept))
        means = _put(means, len(kept), class_mean(features_ND[chosen]))
        kept.append(start + chosen)
        start += len(images)
    labels = np.repeat(np.arange(classes), [len(indices) for indices in kept])
    candidates = join([previous.images, every_row(new_classes)])
    return Memory(candidates.pick(np.concatenate(kept)), labels, means)


def _put(means_KD: NDArray[np.float32], label: int, mean_D: NDArray[np.float32]) -> NDArray[np.float32]:
    """The means with that of ``label``; kept apart, they would break up the room that passes need."""
    if not means_KD.size:
        means_KD = np.empty((len(means_KD), len(mean_D)), np.float32)
    means_KD[label] = mean_D
    return means_KD
