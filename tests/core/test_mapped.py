"""Memory maps that are read ahead and let go of: the same values, and little resident."""

from pathlib import Path

import numpy as np
import pytest

from der.core.files import prefetch, release
from tests.resident_memory import resident

ROWS = 3000


@pytest.fixture
def array(tmp_path: Path) -> np.memmap:
    values = np.random.RandomState(0).randint(0, 256, (ROWS, 3 * 4096), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    found: np.memmap = np.load(tmp_path / "a.npy", mmap_mode="r")
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell what is resident")
def test_what_is_let_go_is_not_resident(array: np.memmap) -> None:
    int(array.sum())
    assert resident(array) > array.nbytes / 2
    release(array)
    assert resident(array) == 0


def test_a_map_that_was_written_to_keeps_what_was_written(array: np.memmap) -> None:
    own: np.memmap = np.load(str(array.filename), mmap_mode="c")
    own[:] = 7
    prefetch(own, np.array([0, 5]))
    release(own)
    assert (own == 7).all() and not (array == 7).all()
