"""Images as arrays: rows picked without copying, one file per class, and the memory of exemplars.

# N images, B of them, M exemplars, K classes seen, H and W pixels, C channels, D features
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core import files
from der.core.errors import UserError
from der.settings.sections import MemorySettings

CHUNK = 16 << 20  # bytes of images that are copied at once
HELD = 256 << 20  # bytes of files that may stay in memory
AROUND = 2 << 20  # bytes that the system may map where one is read
SUFFIX = ".npy"
OTHER_FILES = 1024  # that a process may have open beside memory maps


@dataclass(frozen=True)
class ImageRows:
    """N images uint8: image i is row ``rows_N[i]`` of the concatenated ``arrays``.

    The arrays may be memory maps. An image is copied only when it is read. Pages of large files are released
    after each read.
    """

    arrays: Sequence[NDArray[np.uint8]]  # (n, H, W, C) each, at least one
    rows_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows_N)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        _, height, width, channels = self.arrays[0].shape
        return height, width, channels

    def pick(self, indices_B: NDArray[np.int64]) -> "ImageRows":
        return ImageRows(self.arrays, self.rows_N[indices_B])

    def read(self, indices_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return a copy (B, H, W, C) of the images with these indices."""
        picked = np.empty((len(indices_B), *self.shape), np.uint8)
        size = max(1, HELD // AROUND) if self._large else max(1, len(indices_B))
        for start in range(0, len(indices_B), size):
            for array, places, rows in self._parts_of(indices_B[start : start + size]):
                picked[start + places] = np.asarray(array)[rows]  # a memory map would take longer
                if self._large:
                    files.release(array)
        return picked

    def stream(self, several: Iterable[NDArray[np.int64]]) -> Iterator[NDArray[np.uint8]]:
        """Yield copies of the images of each array of indices, while the disk reads those of the next."""
        for indices_B, following in pairwise([*several, np.empty(0, np.int64)]):
            for array, _, rows in self._parts_of(following):
                files.prefetch(array, rows)
            yield self.read(indices_B)

    def copy(self) -> NDArray[np.uint8]:
        """Return a copy (N, H, W, C) of all images."""
        return self.read(np.arange(len(self)))

    def chunks(self) -> Iterator[NDArray[np.uint8]]:
        """Yield copies of all images in order, some megabytes at a time."""
        size = max(1, CHUNK // max(1, int(np.prod(self.shape))))
        for start in range(0, len(self), size):
            yield self.read(np.arange(start, min(start + size, len(self))))

    @cached_property
    def _large(self) -> bool:
        """True if the mapped files exceed the limit of what may stay in memory."""
        return sum(map(files.mapped_bytes, self.arrays)) > HELD

    def _parts_of(
        self, indices_B: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield each array with some of the images, with their places in the request and in the array."""
        rows_B, starts = self.rows_N[indices_B], np.cumsum([0, *map(len, self.arrays)])
        owners = np.searchsorted(starts, rows_B, side="right") - 1
        order = np.argsort(owners, kind="stable")
        found, begins = np.unique(owners[order], return_index=True)
        for owner, places in zip(found.tolist(), np.split(order, begins)[1:], strict=True):
            yield self.arrays[owner], places, rows_B[places] - starts[owner]


def every_row(arrays: Sequence[NDArray[np.uint8]]) -> ImageRows:
    return ImageRows(arrays, np.arange(sum(map(len, arrays))))


def join(several: Sequence[ImageRows]) -> ImageRows:
    """Concatenate the images of ``several``, some of which may be empty."""
    found = [one for one in several if len(one)] or several[:1]
    arrays = [array for one in found for array in one.arrays]
    *starts, _ = accumulate((sum(map(len, one.arrays)) for one in found), initial=0)
    rows = [start + one.rows_N for start, one in zip(starts, found, strict=True)]
    return ImageRows(arrays, np.concatenate(rows))


# A sealed directory of images: one array (n, H, W, C) per class, in <class>.npy.


def class_file(name: str) -> str:
    """Return the file of the images of class ``name``, which may contain dots."""
    return f"{name}{SUFFIX}"


def write_images(path: Path, images: ImageRows) -> None:
    """Write images (N, H, W, C) as a .npy file, some megabytes at a time."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(images), *images.shape)}
    with files.atomic_file(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for chunk in images.chunks():
            stream.write(chunk.data)


def list_classes(directory: Path) -> list[str]:
    """List the classes in ``directory`` in alphabetical order; raises DamageError if it holds none."""
    digests = files.SealedDirectory(directory).digests
    return sorted(name.removesuffix(SUFFIX) for name in digests if name.endswith(SUFFIX))


def read_classes(directory: Path, names: list[str]) -> list[NDArray[np.uint8]]:
    """Map the images of the named classes, in that order; raises DamageError naming a bad file."""
    _allow_open_files(OTHER_FILES + len(names))
    sealed = files.SealedDirectory(directory)
    return [sealed.read_array(class_file(name), mapped=True) for name in names]


def read_step(directory: Path, steps: list[list[str]]) -> tuple[list[NDArray[np.uint8]], ...]:
    """Map the training images of a step: more of each old class, most often none, and of each new class."""
    old, there = [name for step in steps[:-1] for name in step], {*list_classes(directory)}
    more = iter(read_classes(directory, [name for name in old if name in there]))
    nothing = np.empty((0, 0, 0, 0), np.uint8)
    return [next(more) if name in there else nothing for name in old], read_classes(directory, steps[-1])


def _allow_open_files(count: int) -> None:
    """Raise this process's limit of open files as far as possible: every memory map keeps one open."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        with suppress(ValueError, OSError):  # macOS has one more limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass(frozen=True)
class Memory:
    """The memory M_t: exemplars of all classes seen, sorted by label, and within a class in herding order."""

    images: ImageRows  # M of them
    labels: NDArray[np.int64]  # (M,)
    class_means: NDArray[np.float32]  # (K, D), of the current network's features

    def indices_of(self, label: int) -> NDArray[np.int64]:
        return np.flatnonzero(self.labels == label)

    def of_class(self, label: int) -> ImageRows:
        return self.images.pick(self.indices_of(label))

    def beside(self, more: Sequence[NDArray[np.uint8]]) -> "Memory":
        """Return a memory that also holds ``more`` images (n, H, W, C) of each old class, to train on."""
        sizes = [len(images) for images in more]
        if not any(sizes):
            return self
        images = join([self.images, every_row([images for images in more if len(images)])])
        return replace(
            self, images=images, labels=np.concatenate([self.labels, np.repeat(np.arange(len(sizes)), sizes)])
        )

    def copy(self) -> "Memory":
        """Return a memory with its own copy of the images, which no longer needs the original arrays."""
        return replace(self, images=every_row([self.images.copy()]))


def empty_memory() -> Memory:
    images = every_row([np.empty((0, 0, 0, 0), np.uint8)])
    return Memory(images, np.empty(0, np.int64), np.empty((0, 0), np.float32))


def exemplars_per_class(settings: MemorySettings, classes: int) -> int:
    """Return m: the fixed number per class, or an equal share of the fixed total."""
    return settings.budget if settings.allocation == "per_class" else settings.budget // classes


def check_budget(settings: MemorySettings, classes: int) -> None:
    """Raise UserError if the memory budget allows no exemplar for each of ``classes``."""
    if not exemplars_per_class(settings, classes):
        budget = f"memory.budget: {settings.budget} leaves no exemplar for each of {classes} classes"
        raise UserError(f"{budget}; write at least {classes}")


def save_memory(path: Path, memory: Memory) -> None:
    """Write the three arrays as .npy files into the sealed directory ``path``."""
    with files.sealed_directory(path) as directory:
        write_images(directory / "images.npy", memory.images)
        files.write_array(directory / "labels.npy", memory.labels)
        files.write_array(directory / "class_means.npy", memory.class_means)


def load_memory(path: Path) -> Memory:
    """Read a memory; raises UserError naming what is missing, damaged, not finite, or of the wrong form."""
    sealed = files.SealedDirectory(path)
    images = sealed.read_array("images.npy", mapped=True)
    labels, means = (sealed.read_array(name) for name in ("labels.npy", "class_means.npy"))
    forms = [(one.dtype.name, one.ndim) for one in (images, labels, means)]
    fit = len(images) == len(labels) and len(np.unique(labels)) == len(means)
    if forms != [("uint8", 4), ("int64", 1), ("float32", 2)] or not fit:
        raise UserError(f"{path}: its arrays are no memory's, or not of one; build it again")
    if not np.isfinite(means).all():  # every distance to it would be wrong
        raise UserError(f"{path / 'class_means.npy'}: not all means are finite; build it again")
    return Memory(every_row([images]), labels, means)


def read_labels(path: Path) -> NDArray[np.int64]:
    """Read only the labels (M,) of a memory; raises UserError naming a missing or damaged file."""
    labels: NDArray[np.int64] = files.SealedDirectory(path).read_array("labels.npy")
    return labels
