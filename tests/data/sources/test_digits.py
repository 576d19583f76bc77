"""The digits source, through download()."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from der.data.sources.registry import Counts, download
from der.settings.dataset import DatasetSettings
from tests.data.sources.image_trees import settings_for


def digit_settings(side: int = 8, channels: int = 1) -> DatasetSettings:
    return settings_for("", source="digits", image_side=side, channels=channels, test_fraction=0.2)


def test_all_digits_are_there_once_with_levels_stretched(tmp_path: Path) -> None:
    counts = download(digit_settings(), tmp_path)
    assert counts == Counts(classes=10, train=1797 - counts.test, test=counts.test)
    data = load_digits()
    levels = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    for digit in range(10):
        train, test = (np.load(tmp_path / split / f"{digit}.npy") for split in ("train", "test"))
        assert train.dtype == test.dtype == np.uint8 and train.shape[1:] == (8, 8, 1)
        originals = data.images[data.target == digit].astype(int)
        assert abs(len(test) - 0.2 * len(originals)) <= 0.5
        came_out = sorted(image.tobytes() for image in (*train, *test))
        assert came_out == sorted(bytes(levels[value] for value in image.ravel()) for image in originals)


def test_files_are_the_same_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        download(digit_settings(), tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.npy"))
    assert len(files) == 20
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_other_side_and_channels(tmp_path: Path) -> None:
    download(digit_settings(side=16, channels=3), tmp_path / "large")
    download(digit_settings(), tmp_path / "native")
    large, native = (np.load(tmp_path / name / "test" / "0.npy") for name in ("large", "native"))
    assert large.shape == (len(native), 16, 16, 3)
    assert np.all(large == large[..., :1])
    # Scaling up keeps the brightness of an image.
    assert np.allclose(large.mean((1, 2, 3)), native.mean((1, 2, 3)), atol=4)
