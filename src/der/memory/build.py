"""Building M_t from M_{t-1} and the step's images (DER, section 3.1; method of iCaRL).

# N images of a class, H and W pixels, C channels, D features
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from der.data.exemplars import Memory
from der.memory.budget import check_budget, exemplars_per_class
from der.memory.herding import class_mean
from der.memory.selection import find_selection
from der.settings.memory import MemorySettings

# Of several classes: images (N, H, W, C) of each to its features (N, D).
Features = Callable[[Sequence[NDArray[np.uint8]]], Iterable[NDArray[np.float32]]]


def build_memory(
    previous: Memory, new_classes: Sequence[NDArray[np.uint8]], settings: MemorySettings, features: Features
) -> Memory:
    """Reduce the old classes to the first m of their order, select m of each new class, renew all means.

    ``new_classes`` holds each new class's training images in label order; ``features`` computes
    super-features under the current network, without augmentation. Raises UserError if the budget leaves
    no exemplar for a class, and for a selection that does not exist or returns what it should not.
    """
    old_classes = len(previous.class_means)
    classes = old_classes + len(new_classes)
    select = find_selection(settings)
    check_budget(settings, classes)
    per_class = exemplars_per_class(settings, classes)
    kept = [previous.of_class(label)[:per_class] for label in range(old_classes)]
    means = [class_mean(features_ND) for features_ND in features(kept)]
    for images, features_ND in zip(new_classes, features(new_classes), strict=True):
        chosen = select(features_ND, per_class, settings, len(kept))
        kept.append(images[chosen])
        means.append(class_mean(features_ND[chosen]))
    labels = np.repeat(np.arange(classes), [len(images) for images in kept])
    return Memory(np.concatenate(kept), labels, np.stack(means))
