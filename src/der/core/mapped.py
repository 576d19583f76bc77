"""Memory-mapped arrays: rows read ahead, and pages given back.

On arrays that are in memory, and on systems without such calls, nothing happens.
"""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def prefetch(array: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Have the system read these rows from disk while others are worked on; returns at once."""
    found = _map_of(array)
    if found is None or not hasattr(mmap, "MADV_WILLNEED"):
        return
    size = array[0].nbytes
    for row in rows.tolist():
        begin = array.offset + row * size  # type: ignore[attr-defined]
        start = begin - begin % mmap.PAGESIZE
        found.madvise(mmap.MADV_WILLNEED, start, begin + size - start)


def release(array: NDArray[Any]) -> None:
    """Give the memory of what was read back; it stays in the system's cache as long as there is room."""
    found = _map_of(array)
    if found is not None and hasattr(mmap, "MADV_DONTNEED"):
        found.madvise(mmap.MADV_DONTNEED)


def mapped_bytes(array: NDArray[Any]) -> int:
    """The bytes of an array that lies in a file; 0 of one in memory."""
    return 0 if _map_of(array) is None else array.nbytes


def _map_of(array: NDArray[Any]) -> mmap.mmap | None:
    """The map of a whole file's array, unless it may have been written to: changes would be lost."""
    found = getattr(array, "_mmap", None)
    if not isinstance(found, mmap.mmap) or not isinstance(array, np.memmap):
        return None
    return found if array.mode != "c" else None
