"""What is wrong with an archive of images, told before any stage runs."""

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from der.common.errors import UserError
from der.data.sources.folder_check import check_folder, list_classes
from tests.data.sources.image_trees import Contents, settings_for, tree_of, write_tar, write_zip

TREE = tree_of(train={"cat": 3, "Füchse 狐": 2}, test={"cat": 1, "Füchse 狐": 2})
WRITERS: dict[str, Callable[[Path, Contents], Path]] = {"zip": write_zip, "tar": write_tar}


def unexpected(*_: object) -> None:
    raise AssertionError("it would have to be unpacked")


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_an_archive_tells_is_refused_before_a_run_takes_anything_away(
    tmp_path: Path, suffix: str
) -> None:
    def write(name: str, contents: Contents) -> Path:
        return WRITERS[suffix](tmp_path / f"{name}.{suffix}", contents)

    whole, scratch = write("whole", TREE), tmp_path / "raw"
    check_folder(settings_for(whole), scratch)
    assert list_classes(settings_for(whole)) == ["Füchse 狐", "cat"]
    climbing = write("climbing", TREE | {"../x.png": b""})
    empty = write("empty", {f"mine/{path}": data for path, data in TREE.items()} | {"mine/train/dog": None})
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for archive, message in (
        (climbing, ": .* would leave"), (cut, ": cannot be unpacked"),
        (empty, "/mine/train/dog: the class has no training images"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=f"^{archive}{message}"):
            check_folder(settings_for(archive), scratch)
        assert not scratch.exists()


def test_a_bomb_is_told_by_its_list(tmp_path: Path) -> None:
    bomb = write_zip(tmp_path / "bomb.zip", TREE | {"train/cat/x.bmp": bytes(40_000_000)})
    with pytest.raises(UserError, match=f"^{bomb}: unpacks to over 500 times"):
        check_folder(settings_for(bomb), tmp_path / "raw")


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_left_to_the_download(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_tar(tmp_path / f"a.tar.{suffix}", TREE)
    misnamed = archive.rename(tmp_path / "a.tar")
    monkeypatch.setattr(tarfile, "open", unexpected)
    check_folder(settings_for(misnamed), tmp_path / "raw")
    assert list_classes(settings_for(misnamed)) == []


def test_the_disk_that_is_looked_at_is_the_one_an_archive_is_unpacked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, stick = tmp_path / "disk", tmp_path / "stick"
    disk.mkdir()
    stick.mkdir()
    archive = write_zip(stick / "a.zip", TREE)
    usage = shutil.disk_usage(tmp_path)
    full = {stick}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0 if path in full else 10**9))
    check_folder(settings_for(archive), disk / "data/raw")
    full.add(disk)
    with pytest.raises(UserError, match=rf"^{disk}/data/raw: 0 bytes are free, too few for {archive}; make"):
        check_folder(settings_for(archive), disk / "data/raw")
