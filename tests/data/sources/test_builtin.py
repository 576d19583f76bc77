"""Public data sets: the digits whole, CIFAR by torchvision's own code on tiny archives.

The archives' checksums stand in place of the real ones.
"""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torchvision import datasets  # type: ignore[import-untyped]

from der.core.errors import UserError
from der.data.sources.registry import Counts, download
from der.settings.sections import DatasetSettings
from tests.data.sources.image_trees import settings_for

NAMES = ["truck", "cat", "airplane"]  # as in CIFAR-10, not alphabetical
TRAIN_LABELS, TEST_LABELS = [0, 1, 2, 1, 0, 1], [2, 1, 0]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def channel_first(labels: list[int], seed: int) -> Any:
    return np.random.RandomState(seed).randint(0, 256, (len(labels), 3, 32, 32)).astype(np.uint8)


@pytest.fixture(params=["cifar10", "cifar100"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DatasetSettings:
    """Settings with a whole tiny archive in the downloads directory, and no network."""
    dataset = getattr(datasets, request.param.upper())
    key = "labels" if request.param == "cifar10" else "fine_labels"
    files = {
        "train": {"data": channel_first(TRAIN_LABELS, 0).reshape(-1, 3072), key: TRAIN_LABELS},
        "test": {"data": channel_first(TEST_LABELS, 1).reshape(-1, 3072), key: TEST_LABELS},
        "meta": {dataset.meta["key"]: NAMES},
    }
    contents = {name: pickle.dumps(value) for name, value in files.items()}
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    archive = downloads / dataset.filename
    with tarfile.open(archive, "w:gz") as opened:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{dataset.base_folder}/{name}")
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(dataset, "tgz_md5", md5(archive.read_bytes()))
    monkeypatch.setattr(dataset, "train_list", [["train", md5(contents["train"])]])
    monkeypatch.setattr(dataset, "test_list", [["test", md5(contents["test"])]])
    meta = {"filename": "meta", "key": dataset.meta["key"], "md5": md5(contents["meta"])}
    monkeypatch.setattr(dataset, "meta", meta)

    def no_network(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    return settings_for("", source=request.param, downloads=str(downloads), image_side=32)


def archive_of(settings: DatasetSettings) -> Path:
    (archive,) = Path(settings.downloads).glob("*.tar.gz")
    return archive


def test_classes_come_by_name_with_their_pixels(settings: DatasetSettings, tmp_path: Path) -> None:
    assert download(settings, tmp_path / "raw") == Counts(classes=3, train=6, test=3)
    for split, labels, seed in (("train", TRAIN_LABELS, 0), ("test", TEST_LABELS, 1)):
        images = channel_first(labels, seed).transpose(0, 2, 3, 1)
        for label, name in enumerate(NAMES):
            wanted = images[[index for index, one in enumerate(labels) if one == label]]
            assert np.array_equal(np.load(tmp_path / "raw" / split / f"{name}.npy"), wanted)
    archive_of(settings).unlink()  # what is on disk is used again, at any side and with any channels
    small = settings_for("", source=settings.source, downloads=settings.downloads, image_side=8, channels=1)
    download(small, tmp_path / "small")
    assert np.load(tmp_path / "small/train/cat.npy").shape == (3, 8, 8, 1)


@pytest.mark.parametrize("damage", ["missing", "half", "changed"])
def test_damaged_archives_say_what_goes_where(settings: DatasetSettings, tmp_path: Path, damage: str) -> None:
    archive = archive_of(settings)
    whole = archive.read_bytes()
    archive.unlink()
    if damage == "half":
        archive.write_bytes(whole[: len(whole) // 2])
    if damage == "changed":
        archive.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError) as caught:
        download(settings, tmp_path / "raw")
    message = str(caught.value)
    assert message.startswith(f"{archive}: could not be downloaded")
    assert f"MD5 {md5(whole)}" in message and "https://www.cs.toronto.edu/" in message
    archive.write_bytes(whole)
    assert download(settings, tmp_path / "raw").classes == 3


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
