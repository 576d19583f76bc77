"""The CIFAR sources: torchvision's own code on tiny archives, with their checksums in place of the real."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets  # type: ignore[import-untyped]

from der.core.errors import UserError
from der.data.sources.registry import SOURCES, Counts, download
from der.settings.dataset import DatasetSettings
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


def test_a_home_directory_that_is_none(settings: DatasetSettings) -> None:
    wrong = settings_for("", source=settings.source, downloads="~nobody-of-this-name/images")
    with pytest.raises(UserError, match=r"^~nobody-of-this-name/images: there is no such home directory"):
        next(SOURCES[settings.source].read(wrong, Path("unused")))


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


def test_classes_are_yielded_in_alphabetical_order(settings: DatasetSettings) -> None:
    assert [one.name for one in SOURCES[settings.source].read(settings, Path("unused"))] == sorted(NAMES)


def test_side_and_channels_are_applied(settings: DatasetSettings, tmp_path: Path) -> None:
    small = settings_for("", source=settings.source, downloads=settings.downloads, image_side=8, channels=1)
    download(small, tmp_path / "raw")
    assert np.load(tmp_path / "raw" / "train" / "cat.npy").shape == (3, 8, 8, 1)


def test_what_is_on_disk_is_reused(settings: DatasetSettings, tmp_path: Path) -> None:
    download(settings, tmp_path / "first")
    archive_of(settings).unlink()
    assert download(settings, tmp_path / "second").classes == 3


def test_home_directory_is_expanded(
    settings: DatasetSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    at_home = settings_for("", source=settings.source, downloads="~/downloads", image_side=32)
    assert download(at_home, tmp_path / "raw").classes == 3


@pytest.mark.parametrize("damage", ["missing", "half", "changed"])
def test_archive_that_is_not_whole_says_what_to_put_where(
    settings: DatasetSettings, tmp_path: Path, damage: str
) -> None:
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


@pytest.mark.parametrize("name", ["train", "test"])
def test_damaged_unpacked_file_is_unpacked_again(
    settings: DatasetSettings, tmp_path: Path, name: str
) -> None:
    download(settings, tmp_path / "first")
    (unpacked,) = Path(settings.downloads).glob(f"*/{name}")
    unpacked.write_bytes(unpacked.read_bytes()[:-1])
    download(settings, tmp_path / "second")
    for file in (tmp_path / "first").rglob("*.npy"):
        again = tmp_path / "second" / file.relative_to(tmp_path / "first")
        assert again.read_bytes() == file.read_bytes()


def test_damaged_class_names_say_which_folder_to_delete(settings: DatasetSettings, tmp_path: Path) -> None:
    download(settings, tmp_path / "first")
    (meta,) = Path(settings.downloads).glob("*/meta")
    meta.write_bytes(b"")
    with pytest.raises(UserError, match=f"delete the directory {meta.parent} if it exists"):
        download(settings, tmp_path / "second")


def test_real_file_names_and_checksums(tmp_path: Path) -> None:
    assert (datasets.CIFAR10.filename, datasets.CIFAR10.tgz_md5) == (
        "cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
    )
    assert (datasets.CIFAR100.filename, datasets.CIFAR100.tgz_md5) == (
        "cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
    )
