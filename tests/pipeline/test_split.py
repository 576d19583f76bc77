"""What stage split says of the classes' training images."""

from pathlib import Path

import numpy as np
import pytest

from der.core.files import sealed_directory
from stages.split import describe_tail


@pytest.mark.parametrize(
    ("counts", "said"), [([3, 29, 5], ""), ([3, 30, 5], "3 training images of a, 30 of b")]
)
def test_a_long_tail_is_told_of(
    counts: list[int], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sealed_directory(Path("data/raw/train")) as directory:
        for name, count in zip("abc", counts, strict=True):
            np.save(directory / f"{name}.npy", np.zeros((count, 2, 2, 1), np.uint8))
    found = describe_tail([{"c": ["c"], "a": ["a"]}, {"b": ["b"]}])
    assert found == (f"; {said}: judge by the mean over classes" if said else "")
