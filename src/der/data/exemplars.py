"""The memory M_t: exemplars of every class seen, as arrays.

# M exemplars, H and W pixels, C channels, K classes seen, D features
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.common.errors import UserError
from der.common.sealed import SealedDirectory, sealed_directory
from der.common.serialization import write_array


@dataclass(frozen=True)
class Memory:
    """Exemplars sorted by label, those of a class in herding order; class means of the current network."""

    images: NDArray[np.uint8]  # (M, H, W, C)
    labels: NDArray[np.int64]  # (M,)
    class_means: NDArray[np.float32]  # (K, D)

    def of_class(self, label: int) -> NDArray[np.uint8]:
        """The exemplars of one class, in herding order."""
        images: NDArray[np.uint8] = self.images[self.labels == label]
        return images


def empty_memory() -> Memory:
    """The memory before step 1."""
    return Memory(np.empty((0, 0, 0, 0), np.uint8), np.empty(0, np.int64), np.empty((0, 0), np.float32))


def save_memory(path: Path, memory: Memory) -> None:
    """Write the three arrays as .npy files into the sealed directory ``path``."""
    with sealed_directory(path) as directory:
        write_array(directory / "images.npy", memory.images)
        write_array(directory / "labels.npy", memory.labels)
        write_array(directory / "class_means.npy", memory.class_means)


def load_memory(path: Path) -> Memory:
    """Read a memory.

    Raises UserError naming a file that is missing, damaged, not finite, or does not fit the others.
    """
    sealed = SealedDirectory(path)
    memory = Memory(
        _read(sealed, "images.npy", np.uint8, 4, mapped=True),
        _read(sealed, "labels.npy", np.int64, 1),
        _read(sealed, "class_means.npy", np.float32, 2),
    )
    if len(memory.images) != len(memory.labels):
        raise UserError(
            f"{path}: {len(memory.images)} images but {len(memory.labels)} labels; build it again"
        )
    classes = np.unique(memory.labels)
    if not np.array_equal(classes, np.arange(len(memory.class_means))):
        raise UserError(
            f"{path}: labels of {len(classes)} classes do not fit {len(memory.class_means)} class means; "
            "build it again"
        )
    if not np.isfinite(memory.class_means).all():  # to which no distance would be right
        raise UserError(f"{path / 'class_means.npy'}: not all means are finite; build it again")
    return memory


def read_labels(path: Path) -> NDArray[np.int64]:
    """The labels (M,) of a memory alone; raises UserError naming a file that is missing or damaged."""
    return _read(SealedDirectory(path), "labels.npy", np.int64, 1)


def _read(
    sealed: SealedDirectory, name: str, kind: type[np.generic], dimensions: int, *, mapped: bool = False
) -> NDArray[Any]:
    array = sealed.read_array(name, mapped=mapped)
    if array.dtype != kind or array.ndim != dimensions:
        raise UserError(
            f"{sealed.path / name}: {array.dtype} of shape {array.shape} does not belong there; "
            "build it again"
        )
    return array
