"""The memory M_t: exemplars of every class seen, as arrays.

# M exemplars, K classes seen, D features
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.files import write_array
from der.core.sealed import SealedDirectory, sealed_directory
from der.data.class_arrays import write_images
from der.data.image_rows import ImageRows, every_row


@dataclass(frozen=True)
class Memory:
    """Exemplars sorted by label, those of a class in herding order; class means of the current network."""

    images: ImageRows  # M of them
    labels: NDArray[np.int64]  # (M,)
    class_means: NDArray[np.float32]  # (K, D)

    def indices_of(self, label: int) -> NDArray[np.int64]:
        """The indices of one class's exemplars, in herding order."""
        return np.flatnonzero(self.labels == label)

    def of_class(self, label: int) -> ImageRows:
        """The exemplars of one class, in herding order."""
        return self.images.pick(self.indices_of(label))

    def copy(self) -> "Memory":
        """The same, with images of its own: the arrays that they were picked from may go."""
        return replace(self, images=every_row([self.images.copy()]))


def empty_memory() -> Memory:
    """The memory before step 1."""
    images = every_row([np.empty((0, 0, 0, 0), np.uint8)])
    return Memory(images, np.empty(0, np.int64), np.empty((0, 0), np.float32))


def save_memory(path: Path, memory: Memory) -> None:
    """Write the three arrays as .npy files into the sealed directory ``path``."""
    with sealed_directory(path) as directory:
        write_images(directory / "images.npy", memory.images)
        write_array(directory / "labels.npy", memory.labels)
        write_array(directory / "class_means.npy", memory.class_means)


def load_memory(path: Path) -> Memory:
    """Read a memory.

    Raises UserError naming a file that is missing, damaged, not finite, or does not fit the others.
    """
    sealed = SealedDirectory(path)
    memory = Memory(
        every_row([_read(sealed, "images.npy", np.uint8, 4, mapped=True)]),
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
