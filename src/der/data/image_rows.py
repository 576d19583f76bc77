"""Images picked from several arrays, which may be memory maps: none is copied until it is read.

Of files little stays resident.

# N images, B of them, H and W pixels, C channels
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from der.core.mapped import AROUND, CHUNK, HELD, expect, mapped_bytes, release


class Share(NamedTuple):
    """What one array has of the images asked for."""

    array: NDArray[np.uint8]
    places: NDArray[np.int64]  # among those asked for
    rows: NDArray[np.int64]  # of the array


@dataclass(frozen=True)
class ImageRows:
    """N images uint8: image i is row ``rows_N[i]`` of all ``arrays``, one after the other."""

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
        """The images with these indices, not copied."""
        return ImageRows(self.arrays, self.rows_N[indices_B])

    def read(self, indices_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy (B, H, W, C) of the images with these indices."""
        picked = np.empty((len(indices_B), *self.shape), np.uint8)
        size = max(1, HELD // AROUND) if self._large else max(1, len(indices_B))
        for start in range(0, len(indices_B), size):
            for array, places, rows in self._shares(indices_B[start : start + size]):
                picked[start + places] = np.asarray(array)[rows]  # as a memory map it would take longer
                if self._large:
                    release(array)
        return picked

    def copy(self) -> NDArray[np.uint8]:
        """A copy (N, H, W, C) of all."""
        return self.read(np.arange(len(self)))

    def parts(self) -> Iterator[NDArray[np.uint8]]:
        """Copies of all images in order, some megabytes at a time."""
        size = max(1, CHUNK // max(1, int(np.prod(self.shape))))
        for start in range(0, len(self), size):
            yield self.read(np.arange(start, min(start + size, len(self))))

    def expect(self, indices_B: NDArray[np.int64]) -> None:
        """Have the system read the images with these indices ahead, where they lie on disk."""
        for array, _, rows in self._shares(indices_B):
            expect(array, rows)

    @cached_property
    def _large(self) -> bool:
        """Whether files hold more than may be resident, so that what was read has to be let go of."""
        return sum(map(mapped_bytes, self.arrays)) > HELD

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *map(len, self.arrays)])

    def _shares(self, indices_B: NDArray[np.int64]) -> Iterator[Share]:
        rows_B = self.rows_N[indices_B]
        owners = np.searchsorted(self._starts, rows_B, side="right") - 1
        order = np.argsort(owners, kind="stable")
        found, begins = np.unique(owners[order], return_index=True)
        for owner, places in zip(found.tolist(), np.split(order, begins)[1:], strict=True):
            yield Share(self.arrays[owner], places, rows_B[places] - self._starts[owner])


def every_row(arrays: Sequence[NDArray[np.uint8]]) -> ImageRows:
    """All images of ``arrays``."""
    return ImageRows(arrays, np.arange(sum(map(len, arrays))))


def join(several: Sequence[ImageRows]) -> ImageRows:
    """The images of ``several``, one after the other, of which some may have none."""
    found = [one for one in several if len(one)] or several[:1]
    arrays = [array for one in found for array in one.arrays]
    *starts, _ = accumulate((sum(map(len, one.arrays)) for one in found), initial=0)
    rows = [start + one.rows_N for start, one in zip(starts, found, strict=True)]
    return ImageRows(arrays, np.concatenate(rows))
