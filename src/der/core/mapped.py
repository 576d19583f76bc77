"""Memory-mapped arrays of which little stays resident: read ahead, and let go of.

On arrays that are in memory, and on systems without such calls, nothing happens.
"""

import mmap
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 16 << 20  # bytes read at once
OTHER_FILES = 1024  # that a process may have open beside maps
HELD = 256 << 20  # bytes of files that may stay resident
AROUND = 2 << 20  # bytes that the system may map where one is read


def expect(array: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Have the system read these rows while others are worked on; returns at once."""
    found = _map_of(array)
    if found is None or not hasattr(mmap, "MADV_WILLNEED"):
        return
    size = array[0].nbytes
    for row in rows.tolist():
        begin = array.offset + row * size  # type: ignore[attr-defined]
        start = begin - begin % mmap.PAGESIZE
        found.madvise(mmap.MADV_WILLNEED, start, begin + size - start)


def mapped_bytes(array: NDArray[Any]) -> int:
    """The bytes of an array that lies in a file; 0 of one in memory."""
    return 0 if _map_of(array) is None else array.nbytes


def release(array: NDArray[Any]) -> None:
    """Give back the memory of what was read; it stays in the system's cache as long as there is room."""
    found = _map_of(array)
    if found is not None and hasattr(mmap, "MADV_DONTNEED"):
        found.madvise(mmap.MADV_DONTNEED)


def allow_maps(count: int) -> None:
    """Have the system let this process map so many files more, as far as it may: each keeps one open."""
    try:
        import resource  # not on Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OTHER_FILES + count
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has one more limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _map_of(array: NDArray[Any]) -> mmap.mmap | None:
    """The map of a whole file of an array that nobody has written to: changes would be lost."""
    found = getattr(array, "_mmap", None)
    if not isinstance(found, mmap.mmap) or not isinstance(array, np.memmap):
        return None
    return found if array.mode != "c" else None
