"""Builds the memory of exemplars: how many of each class, which ones, and the class means.

SELECTIONS lists what memory.selection can name. To add a selection, write a function like ``at_random`` and
name it there.

# N images of a class, H and W pixels, C channels, D features, K classes seen, m exemplars
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from der.core import errors, registry
from der.data.arrays import Memory, check_budget, every_row, exemplars_per_class, join
from der.model.architecture import class_mean, in_parts, normalize_features
from der.settings.sections import MemorySettings

# Of several classes: images (N, H, W, C) of each to its features (N, D).
Features = Callable[[Iterable[NDArray[np.uint8]]], Iterable[NDArray[np.float32]]]


def build_memory(
    previous: Memory,
    new_classes: Sequence[NDArray[np.uint8]],
    settings: MemorySettings,
    features: Features,
    more: Sequence[NDArray[np.uint8]] = (),
) -> Memory:
    """Build M_t from M_{t-1} and the step's images (DER, section 3.1; method of iCaRL).

    Keeps the first m exemplars of each old class, selects m of each new class, and computes all class means
    again. ``new_classes`` holds each new class's training images in label order; ``more`` holds more images
    of each old class, beside which its exemplars are selected again, or nothing. ``features`` computes
    super-features under the current network, without augmentation. Raises UserError if the budget leaves
    no exemplar for a class, and for an unknown selection or one that returns an invalid result.

    The result's images are rows of the given arrays, copied when they are read.
    """
    old_classes = len(previous.class_means)
    classes = old_classes + len(new_classes)
    select = find_selection(settings)
    check_budget(settings, classes)
    per_class = exemplars_per_class(settings, classes)
    joined, again = previous.beside(more), [bool(len(images)) for images in more] or [False] * old_classes
    pools = [joined.indices_of(label)[: None if again[label] else per_class] for label in range(old_classes)]
    old = (joined.images.pick(pool).copy() for pool in pools)
    kept, means, start = [], [], len(joined.images)
    for label, features_ND in enumerate(features(old)):
        own = features_ND, per_class, settings, label
        chosen = select(*own) if again[label] else np.arange(len(features_ND))
        means.append(class_mean(features_ND[chosen]))
        kept.append(pools[label][chosen])
    for images, features_ND in zip(new_classes, features(new_classes), strict=True):
        chosen = select(features_ND, per_class, settings, len(kept))
        means.append(class_mean(features_ND[chosen]))
        kept.append(start + chosen)
        start += len(images)
    labels = np.repeat(np.arange(classes), [len(indices) for indices in kept])
    candidates = join([joined.images, every_row(new_classes)])
    return Memory(candidates.pick(np.concatenate(kept)), labels, np.stack(means))


def herd(features_ND: NDArray[np.floating], exemplars: int) -> NDArray[np.int64]:
    """Choose ``min(exemplars, N)`` images by herding; return their indices in the order of choice.

    iCaRL (Rebuffi et al. 2017), algorithm 4. Each pick is the unchosen image that moves the chosen features'
    mean nearest to the mean of all (both of normalised features, L2 distance). Rounding decides ties.
    """
    features = normalize_features(features_ND)
    # ||mean - (s + f) / j||^2 = const + ((2 s.f + f.f) / j - 2 mean.f) / j, s the sum of those chosen.
    to_mean = features @ features.mean(axis=0)
    squared = np.concatenate([(some**2).sum(axis=1) for some in in_parts(features)])
    to_sum = np.zeros(len(features))
    free = np.ones(len(features), dtype=bool)
    chosen = []
    for count in range(1, min(exemplars, len(features)) + 1):
        cost = (2 * to_sum + squared) / count - 2 * to_mean
        pick = int(np.argmin(np.where(free, cost, np.inf)))
        chosen.append(pick)
        free[pick] = False
        to_sum += features @ features[pick]
    return np.array(chosen, dtype=np.int64)


class Selection(Protocol):
    """A selection: a function that chooses the exemplars of one class.

    ``features_ND`` are the super-features (N, D), float32, of the class's training images under the network
    just trained, read-only; ``exemplars`` is their wanted number, at least 1; ``label`` is the class's label.
    The result holds the indices (int64) of min(exemplars, N) different images, the most important first: when
    more classes share the memory, the last are dropped. The same arguments must give the same indices: draws
    come only from ``settings.seed`` and ``label``.
    """

    def __call__(
        self, features_ND: NDArray[np.float32], exemplars: int, settings: MemorySettings, label: int, /
    ) -> NDArray[np.int64]: ...


def at_random(
    features_ND: NDArray[np.float32], exemplars: int, settings: MemorySettings, label: int
) -> NDArray[np.int64]:
    """Choose at random (an ablation); the draw depends only on seed, label and number of images."""
    order: NDArray[np.int64] = np.random.RandomState([settings.seed, label]).permutation(len(features_ND))
    return order[:exemplars]


SELECTIONS: dict[str, Selection] = {
    "herding": lambda features_ND, exemplars, settings, label: herd(features_ND, exemplars),
    "random": at_random,
}


def find_selection(settings: MemorySettings) -> Selection:
    """Return the selection that ``settings`` name; it raises UserError for results unlike ``Selection``."""
    name = settings.selection
    select = registry.look_up(SELECTIONS, name, "memory.selection")

    def checked(
        features_ND: NDArray[np.float32], exemplars: int, settings: MemorySettings, label: int, /
    ) -> NDArray[np.int64]:
        shown = features_ND.view()
        shown.flags.writeable = False  # class means are computed from them afterwards
        chosen, wanted = np.asarray(select(shown, exemplars, settings, label)), min(exemplars, len(shown))
        whole = chosen.dtype.kind in "iu" and chosen.shape == (wanted,)
        if not whole or len(np.intersect1d(chosen, np.arange(len(shown)))) != wanted:
            fit = f"{wanted} different indices of {len(shown)} images"
            raise errors.UserError(f"memory.selection: {name} returns {chosen}; return {fit}")
        return chosen.astype(np.int64)

    return checked
