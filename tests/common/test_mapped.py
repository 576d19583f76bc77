"""Memory maps that are read ahead and let go of: the same values, and little resident."""

from pathlib import Path

import numpy as np
import pytest

from der.common import mapped
from der.common.mapped import chunks, expect, release

ROWS = 3000


@pytest.fixture
def array(tmp_path: Path) -> np.memmap:
    values = np.random.RandomState(0).randint(0, 256, (ROWS, 3 * 4096), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    found: np.memmap = np.load(tmp_path / "a.npy", mmap_mode="r")
    return found


def resident(array: np.memmap) -> int:
    """Bytes of the file that this process has in memory, as Linux tells."""
    name, inside = str(array.filename), False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            inside = line.endswith(name)
        elif inside and line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    return 0


def test_values_stay(array: np.memmap) -> None:
    whole = np.array(array)
    rows = np.array([0, 7, ROWS - 1])
    expect(array, rows)
    assert np.array_equal(array[rows], whole[rows])
    release(array)
    assert np.array_equal(array, whole)
    parts = [np.array(part) for part in chunks(array)]
    assert len(parts) > 1 and np.array_equal(np.concatenate(parts), whole)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell what is resident")
def test_what_is_let_go_is_not_resident(array: np.memmap) -> None:
    int(array.sum())
    assert resident(array) > array.nbytes / 2
    release(array)
    assert resident(array) == 0
    for part in chunks(array):
        int(part.sum())
        assert resident(array) < 2 * mapped.CHUNK


def test_arrays_in_memory_are_left_alone() -> None:
    values = np.arange(10)
    expect(values, np.array([1, 2]))
    release(values)
    assert [part.tolist() for part in chunks(values)] == [list(range(10))]
    assert [*chunks(values[:0])] == []
