"""Selections of a class's exemplars, by name: what memory.selection chooses from.

To add one, write a function like ``at_random`` and name it in SELECTIONS.

# N images of a class, D features
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.registry import look_up
from der.memory.herding import herd
from der.settings.sections import MemorySettings


class Selection(Protocol):
    """A selection: a function that chooses the exemplars of one class.

    ``features_ND`` are the super-features (N, D), float32, of the class's training images under the network
    just trained, read-only; ``exemplars`` is how many are wanted, at least 1; ``label`` is the class's. The
    result holds the indices (int64) of min(exemplars, N) different images, in the order in which they are to
    be kept: when more classes share the memory, the last are dropped. The same arguments must give the same
    indices: draws come from ``settings.seed`` and ``label`` alone.
    """

    def __call__(
        self, features_ND: NDArray[np.float32], exemplars: int, settings: MemorySettings, label: int, /
    ) -> NDArray[np.int64]: ...


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


def find_selection(settings: MemorySettings) -> Selection:
    """The selection that ``settings`` name; raises UserError if there is none.

    Its result is held to what ``Selection`` says; raises UserError, when called, for any other.
    """
    name = settings.selection
    select = look_up(SELECTIONS, name, "memory.selection")

    def checked(
        features_ND: NDArray[np.float32], exemplars: int, settings: MemorySettings, label: int, /
    ) -> NDArray[np.int64]:
        shown = features_ND.view()
        shown.flags.writeable = False  # class means are computed from them afterwards
        chosen = np.asarray(select(shown, exemplars, settings, label))
        if fault := _fault_of(chosen, len(features_ND), min(exemplars, len(features_ND))):
            raise UserError(f"memory.selection: {name} {fault}")
        return chosen.astype(np.int64)

    return checked


def _fault_of(chosen: NDArray[np.generic], images: int, wanted: int) -> str | None:
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        return f"returns {chosen.dtype} of shape {chosen.shape}; return whole numbers (n,), indices of images"
    if len(chosen) != wanted:
        return f"chooses {len(chosen)} of {images} images; choose {wanted}"
    if len(set(chosen.tolist())) != wanted:
        return "chooses an image twice; choose each once"
    if not 0 <= int(chosen.min()) <= int(chosen.max()) < images:
        return f"chooses images {chosen.min()} to {chosen.max()}; choose from 0 to {images - 1}"
    return None
