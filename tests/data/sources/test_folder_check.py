"""What is wrong with an archive of images, told before any stage runs."""

import gzip
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from der.core.atomic import atomic_directory
from der.core.errors import UserError
from der.data.sources.registry import download
from der.data.sources.folder import check_folder, list_classes
from tests.data.sources.image_trees import Contents, link, settings_for, tree_of, write_tar, write_zip

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
    cut.write_bytes(whole.read_bytes()[: -30 if suffix == "zip" else whole.stat().st_size // 2])
    for archive, message in (
        (climbing, ": .* would leave"), (cut, ": cannot be unpacked"),
        (empty, "/mine/train/dog: the class has no training images"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=f"^{archive}{message}"):
            check_folder(settings_for(archive), scratch)
        assert not scratch.exists()
        with pytest.raises(UserError, match=f"^{archive}"), atomic_directory(scratch) as directory:
            download(settings_for(archive), directory)
        assert not scratch.exists()


LINKS: dict[str, tuple[dict[str, str], str | None]] = {
    "to nothing": ({"a.png": "nothing.png"}, "is no file of the archive"),
    "to itself": ({"a.png": "a.png"}, "is no file of the archive"),
    "to a later link": ({"a.png": "b.png", "b.png": "0.png"}, "is no file of the archive"),
    "to an earlier link": ({"a.png": "0.png", "b.png": "a.png"}, None),
}


@pytest.mark.parametrize("name", LINKS)
def test_links(tmp_path: Path, name: str) -> None:
    links, message = LINKS[name]
    members = tuple(link(f"train/cat/{one}", other) for one, other in links.items())
    archive = write_tar(tmp_path / "a.tar", TREE, members)
    if message is None:
        check_folder(settings_for(archive), tmp_path / "raw")
        assert download(settings_for(archive), tmp_path / "raw").train == 5 + len(links)
    else:
        with pytest.raises(UserError, match=message):
            check_folder(settings_for(archive), tmp_path / "raw")


def test_another_archive_at_the_same_place(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", TREE)
    assert list_classes(settings_for(archive)) == ["Füchse 狐", "cat"]
    write_tar(archive, TREE | tree_of(train={"dog": 2}, test={"dog": 1}))
    assert list_classes(settings_for(archive)) == ["Füchse 狐", "cat", "dog"]


@pytest.mark.parametrize("suffix", ["rar", "npz"])
def test_a_file_that_is_no_archive_by_its_name(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(b"images")
    with pytest.raises(UserError, match=rf"^{file}: neither a directory nor a \.zip, "):
        list_classes(settings_for(file))


def test_a_zip_that_is_something_else(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(gzip.compress(b"images"))
    with pytest.raises(UserError, match=rf"^{archive}: cannot be unpacked"):
        check_folder(settings_for(archive), tmp_path / "raw")


def pax(**headers: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("train/.cat/0.png")
    member.pax_headers = {name.replace("_", "."): text for name, text in headers.items()}
    return member


def negative() -> tarfile.TarInfo:
    member = tarfile.TarInfo("train/.cat/0.png")
    member.size = -512
    return member


BAD_SIZES = {
    "smaller than nothing": negative(),
    "by its second header": pax(size="-512"),
    "of a file with holes": pax(GNU_sparse_map="0,0", GNU_sparse_size="-1000000000000000"),
    "no number": pax(GNU_sparse_map="0,x", GNU_sparse_size="5"),
}


@pytest.mark.parametrize("name", BAD_SIZES)
def test_sizes_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.tar"
    write_tar(archive, TREE, (BAD_SIZES[name],))
    with pytest.raises(UserError, match=rf"^{archive}: cannot be unpacked"):
        check_folder(settings_for(archive), tmp_path / "raw")


def test_a_bomb_is_told_by_its_list(tmp_path: Path) -> None:
    bomb = write_zip(tmp_path / "bomb.zip", TREE | {"train/cat/x.bmp": bytes(40_000_000)})
    with pytest.raises(UserError, match=f"^{bomb}: unpacks to over 500 times"):
        check_folder(settings_for(bomb), tmp_path / "raw")
    with pytest.raises(UserError, match=f"^{bomb}"), atomic_directory(tmp_path / "raw") as directory:
        download(settings_for(bomb), directory)
    assert not (tmp_path / "raw").exists()


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
