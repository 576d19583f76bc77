"""The folder source on archives: the same images as from a directory, and nothing outside the scratch."""

import errno
import io
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from der.core.atomic import atomic_directory
from der.core.errors import UserError
from der.data.sources.registry import Counts, download
from der.data.sources.folder import folder
from tests.data.sources.image_trees import (
    Contents,
    expected,
    link,
    png,
    settings_for,
    tree_of,
    write_tar,
    write_tree,
    write_zip,
)

TREE = tree_of(train={"cat": 3, "Füchse 狐": 2}, test={"cat": 1, "Füchse 狐": 2})
COUNTS = Counts(classes=2, train=5, test=3)
NAMES = ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a.tar.bz2", "A.ZIP"]


@pytest.fixture(autouse=True)
def no_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed run left in the system's temporary directory would stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))


def write_archive(archive: Path, contents: Contents) -> Path:
    return (write_zip if archive.suffix.lower() == ".zip" else write_tar)(archive, contents)


def failure(archive: Path, tmp_path: Path) -> str:
    """The message of download() as its stage calls it; holds that nothing is left behind or made."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught, atomic_directory(tmp_path / "raw") as directory:
        download(settings_for(archive), directory)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrapper", ["", "./", "my images/"])
def test_archives_give_what_the_directory_gives(tmp_path: Path, name: str, wrapper: str) -> None:
    root = write_tree(tmp_path / "images", TREE)
    archive = write_archive(tmp_path / name, {wrapper + path: content for path, content in TREE.items()})
    assert download(settings_for(root), tmp_path / "one") == COUNTS
    assert download(settings_for(archive), tmp_path / "two") == COUNTS
    for file in (tmp_path / "one").rglob("*.npy"):
        assert (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes() == file.read_bytes()
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["test", "train"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_what_a_killed_run_unpacked_lies_in_its_destination(tmp_path: Path, name: str) -> None:
    """Where atomic_directory removes it at the start of the next run."""
    archive = write_archive(tmp_path / name, TREE)
    with atomic_directory(tmp_path / "raw") as directory:
        found = folder(settings_for(archive), directory / "unpacked")
        next(found)
        made = {path for path in tmp_path.rglob("*") if path.is_file()} - {archive}
        unpacked = {path for path in made if path.suffix != ".npy"}
        assert len(unpacked) == len(TREE) and len(made) > len(unpacked)
        assert all(directory in path.parents for path in made)
        found.close()
        assert not any(directory.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_full_disk_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    archive = write_archive(tmp_path / name, TREE)
    monkeypatch.setattr(shutil, "copyfileobj", fail)
    message = f"{tmp_path}/raw.partial/unpacked: the disk is full; make room to unpack {archive}"
    assert failure(archive, tmp_path) == message


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_what_else_is_in_an_archive_is_left_out(tmp_path: Path, name: str) -> None:
    debris: Contents = {
        "README": b"x",
        "__MACOSX/images/train/cat/._0.png": b"x",
        "images": None,
        "images/train": None,
        "images/train/cat": None,
        "images/train/.hidden/0.png": b"x",
        "images/train/cat/.DS_Store": b"x",
        "images/train/cat/about.txt": b"x",
        "images/test/labels.csv": b"x",
        "images/notes/a.txt": b"x",
    }
    archive = write_archive(tmp_path / name, debris | {f"images/{path}": data for path, data in TREE.items()})
    assert download(settings_for(archive), tmp_path / "raw") == replace(COUNTS, passed_over=3)


def test_zip_names_in_undeclared_utf8_and_with_backslashes(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {path.replace("/", "\\"): data for path, data in TREE.items()})
    content = archive.read_bytes()
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # clear the flag "names are UTF-8"
        position = content.find(signature)
        while position >= 0:
            flags = struct.unpack_from("<H", content, position + offset)[0] & ~0x800
            place = position + offset
            content = content[:place] + struct.pack("<H", flags) + content[place + 2 :]
            position = content.find(signature, position + 4)
    archive.write_bytes(content)
    assert not any(info.flag_bits & 0x800 for info in zipfile.ZipFile(archive).infolist())
    assert download(settings_for(archive), tmp_path / "raw") == COUNTS
    assert (tmp_path / "raw" / "train" / "Füchse 狐.npy").exists()


def test_links_inside_an_archive_are_followed(tmp_path: Path) -> None:
    links = (
        link("train/dog/0.png", "../cat/0.png"),
        link("train/dog/1.png", "train/cat/1.png", tarfile.LNKTYPE),
        link("test/dog/0.png", "../../pool/0.png"),
    )
    contents = TREE | {"pool/0.png": png("pool")}
    archive = write_tar(tmp_path / "a.tar", contents, links)
    assert download(settings_for(archive), tmp_path / "raw") == Counts(classes=3, train=7, test=4)
    dog = np.load(tmp_path / "raw" / "train" / "dog.npy")
    assert np.array_equal(dog, expected("train", "cat", 3)[:2])


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("member", ["../outside.png", "/tmp/outside.png", "train/cat/../../../outside.png"])
def test_member_that_would_leave_its_folder(tmp_path: Path, name: str, member: str) -> None:
    archive = write_archive(tmp_path / name, TREE | {member: png("evil")})
    message = f"{archive}: the member {member!r} would leave the archive's folder; remove it"
    assert failure(archive, tmp_path) == message


def test_zip_member_that_climbs_with_backslashes(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", TREE | {"..\\outside.png": png("evil")})
    assert "'../outside.png' would leave the archive's folder" in failure(archive, tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../../secret.png"])
def test_link_that_leads_outside(tmp_path: Path, kind: bytes, target: str) -> None:
    (tmp_path / "secret.png").write_bytes(png("secret"))
    archive = write_tar(tmp_path / "a.tar", TREE, (link("train/cat/x.png", target, kind),))
    assert "the member 'train/cat/x.png' would leave" in failure(archive, tmp_path)


def test_link_that_leads_to_no_file(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", TREE, (link("train/dog", "cat"),))
    message = f"{archive}/train/dog: a link to train/cat, which is no file of the archive"
    assert failure(archive, tmp_path).startswith(message)


def test_a_link_before_its_file(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as opened:
        opened.addfile(link("train/cat/first.png", "last.png"))
        for name in ("train/cat/last.png", "train/dog/0.png", "train/dog/1.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(name))
            opened.addfile(info, io.BytesIO(png(name)))
    assert download(settings_for(archive), tmp_path / "raw") == Counts(classes=2, train=2, test=2)


def test_zip_link_is_not_read_as_a_picture(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", TREE)
    with zipfile.ZipFile(archive, "a") as opened:
        info = zipfile.ZipInfo("train/cat/x.png")
        info.external_attr = 0o120777 << 16
        opened.writestr(info, "../../../secret.png")
    assert "the member 'train/cat/x.png' would leave" in failure(archive, tmp_path)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_device_is_named(tmp_path: Path, kind: bytes) -> None:
    archive = write_tar(tmp_path / "a.tar", TREE, (link("train/cat/x.png", "", kind),))
    assert "the member 'train/cat/x.png' is a device" in failure(archive, tmp_path)


def test_encrypted_zip(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"train/cat/0.png": png("")})
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.find(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "the member 'train/cat/0.png' is encrypted" in failure(archive, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_archive_cut_short(tmp_path: Path, name: str) -> None:
    archive = write_archive(tmp_path / name, TREE)
    whole = archive.read_bytes()
    for length in (0, 100, len(whole) // 2):
        archive.write_bytes(whole[:length])
        assert failure(archive, tmp_path).startswith(f"{archive}: cannot be unpacked (")


def test_tar_cut_between_members_is_not_taken_for_whole(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", TREE)
    with tarfile.open(archive) as opened:
        last = opened.getmembers()[-1].offset
    archive.write_bytes(archive.read_bytes()[:last])
    assert "cannot be unpacked (it ends too early)" in failure(archive, tmp_path)


def test_tar_with_a_damaged_header_is_not_taken_for_whole(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", TREE)
    with tarfile.open(archive) as opened:
        last = opened.getmembers()[-1].offset
    content = bytearray(archive.read_bytes())
    content[last + 1] ^= 1
    archive.write_bytes(content)
    assert "cannot be unpacked (it ends too early)" in failure(archive, tmp_path)


def test_checksum_of_a_compressed_tar_is_read(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", TREE)
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1  # of the CRC
    archive.write_bytes(content)
    assert "cannot be unpacked (CRC check failed" in failure(archive, tmp_path)


def test_zip_member_with_a_wrong_checksum(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("train/cat/0.png", png("cat"))
    content = bytearray(archive.read_bytes())
    content[content.find(b"IDAT") + 8] ^= 1
    archive.write_bytes(content)
    assert "Bad CRC-32 for file 'train/cat/0.png'" in failure(archive, tmp_path)


def test_foreign_file_with_an_archive_s_name(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar"):
        (tmp_path / name).write_bytes(png("") * 20)
        assert failure(tmp_path / name, tmp_path).startswith(f"{tmp_path / name}: cannot be unpacked (")


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_messages_name_the_member_below_its_wrapper(tmp_path: Path, name: str) -> None:
    contents = {f"images/{path}": content for path, content in TREE.items()}
    archive = write_archive(tmp_path / name, contents | {"images/train/eel": None})
    assert failure(archive, tmp_path).startswith(
        f"{archive}/images/train/eel: the class has no training images"
    )
    archive = write_archive(tmp_path / name, contents | {"images/train/cat/a.png": b"x"})
    with pytest.raises(UserError, match=f"{archive}/images/train/cat/a.png: cannot be read as a picture"):
        download(settings_for(archive), tmp_path / "raw")


def test_archive_without_train(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"pictures/cat/0.png": png("")})
    assert failure(archive, tmp_path).startswith(f"{archive}: has no folder train")


def test_class_names_that_differ_in_normal_form_only(tmp_path: Path) -> None:
    contents = tree_of(train={"cat": 2, "e\u0301": 1, "\u00e9": 1})
    assert "two folders are named '\u00e9'" in failure(write_zip(tmp_path / "a.zip", contents), tmp_path)


@pytest.mark.parametrize("again", ["train/cat/0.png", "./train/cat/0.png", "train//cat/0.png"])
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_a_member_that_stands_twice_is_named(tmp_path: Path, name: str, again: str) -> None:
    contents = [*TREE.items(), (again, png("train/cat/2.png"))]
    archive = tmp_path / name
    with tarfile.open(archive, "w:gz" if name.endswith("gz") else "w") as tar:
        for path, content in contents:
            assert content is not None
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    if name == "a.zip":
        with zipfile.ZipFile(archive, "w") as zipped, warnings.catch_warnings(action="ignore"):
            for path, content in contents:
                zipped.writestr(path, content or b"")
    assert failure(archive, tmp_path) == f"{archive}: holds the member {again!r} twice; remove or rename one"


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.xz"])
def test_an_archive_that_unpacks_to_a_thousand_times_its_size(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / name, TREE | {"train/cat/x.bmp": bytes(40_000_000)})
    assert archive.stat().st_size < 40_000_000 / 900
    monkeypatch.setattr(shutil, "copyfileobj", unexpected)
    message = f"{archive}: unpacks to over 500 times its size, as pictures do not; unpack it yourself if"
    assert failure(archive, tmp_path).startswith(message)


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_for_which_there_is_no_room(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / name, TREE)
    needed = sum(len(content or b"") for content in TREE.values())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    assert download(settings_for(archive), tmp_path / "whole") == COUNTS
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    monkeypatch.setattr(shutil, "copyfileobj", unexpected)
    assert failure(archive, tmp_path) == (
        f"{tmp_path}/raw.partial/unpacked: {needed - 1:,} bytes are free, too few for {archive}; make room"
    )


def unexpected(*_: object) -> None:
    raise AssertionError("nothing may be written")


def test_a_link_or_name_that_would_fill_the_memory(tmp_path: Path) -> None:
    zipped, tarred = tmp_path / "a.zip", tmp_path / "a.tar.gz"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        link = zipfile.ZipInfo("train/ant/0.png")
        link.external_attr = stat.S_IFLNK << 16
        link.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(link, b"x" * 10**6)
    message = f"{zipped}: the member 'train/ant/0.png' is a link to a name of 1000000 bytes; remove it"
    assert failure(zipped, tmp_path) == message
    with tarfile.open(tarred, "w:gz", format=tarfile.GNU_FORMAT) as archive_of_tar:
        archive_of_tar.addfile(tarfile.TarInfo("train/ant/" + "x" * 10**6))
    assert "(a name or header of 1000" in failure(tarred, tmp_path).replace("'", "")


def test_what_follows_the_end_of_a_tar_is_no_part_of_it(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", TREE)
    archive.write_bytes(2 * archive.read_bytes())
    assert failure(archive, tmp_path).startswith(f"{archive}: cannot be unpacked (something follows its end)")
