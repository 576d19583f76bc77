"""The folder source on archives: the same images as from a directory, and nothing outside the scratch."""

import io
import tarfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from der.core.errors import UserError
from der.core.files import atomic_directory
from der.data.sources.folder import check_folder, folder, list_classes, unpack
from der.data.sources.registry import Counts, download
from tests.data.sources.image_trees import (
    Contents,
    expected,
    link,
    pixels_of,
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


def check_failure(archive: Path, tmp_path: Path) -> str:
    """The message of the check before a run takes any result away; the same as download()'s."""
    with pytest.raises(UserError) as caught:
        check_folder(settings_for(archive))
    assert str(caught.value) == failure(archive, tmp_path)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_gives_the_images_of_its_directory(tmp_path: Path, name: str) -> None:
    download(settings_for(write_tree(tmp_path / "images", TREE)), tmp_path / "from_directory")
    archive = write_archive(tmp_path / name, TREE)
    assert download(settings_for(archive), tmp_path / "from_archive") == COUNTS
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "from_directory").glob("*/*.npy")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "from_archive").glob("*/*.npy")} == wanted
    assert not (tmp_path / "from_archive/unpacked").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_single_folder_around_the_tree_and_debris_do_not_matter(tmp_path: Path, name: str) -> None:
    names = ["__MACOSX/images/train/cat/._0.png", "__MACOSX/train/cat/._0.png", "images/train/.cat/0.png"]
    names += ["images/train/cat/.DS_Store", "images/train/cat/about.txt", "images/test/labels.csv"]
    debris: Contents = dict.fromkeys([*names, "images/notes/a.txt"], b"x")
    archive = write_archive(tmp_path / name, debris | {f"images/{path}": data for path, data in TREE.items()})
    assert download(settings_for(archive), tmp_path / "raw") == replace(COUNTS, passed_over=3)


@pytest.mark.parametrize(("written", "name"), [("ü".encode(), "ü"), (b"\x81x", "üx")])  # code page 437
def test_zip_names_of_macos_and_old_windows_programs(tmp_path: Path, written: bytes, name: str) -> None:
    contents = tree_of(train={"xx": 2, "cat": 2})
    archive = write_zip(tmp_path / "a.zip", {path.replace("/", "\\"): contents[path] for path in contents})
    archive.write_bytes(archive.read_bytes().replace(b"\\xx\\", b"\\" + written + b"\\"))
    assert list_classes(settings_for(archive)) == ["cat", name]
    assert download(settings_for(archive), tmp_path / "raw").classes == 2


def test_links_inside_a_tar_are_followed(tmp_path: Path) -> None:
    links = (
        link("train/dog/0.png", "../cat/0.png"),
        link("train/dog/1.png", "train/cat/1.png", tarfile.LNKTYPE),
        link("test/dog/0.png", "../../pool/0.png"),
    )
    archive = write_tar(tmp_path / "a.tar", TREE | {"pool/0.png": png("pool")}, links)
    assert download(settings_for(archive), tmp_path / "raw") == Counts(classes=3, train=7, test=4)
    dog = np.load(tmp_path / "raw/train/dog.npy")
    assert np.array_equal(dog, expected("train", "cat", 3)[:2])


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize("member", ["../x.png", "/tmp/x.png", "train/cat/../../../x.png", "..\\x.png"])
def test_a_member_that_would_leave_its_folder(tmp_path: Path, name: str, member: str) -> None:
    shown = member.replace("\\", "/")
    archive = write_archive(tmp_path / name, TREE | {member if name == "a.zip" else shown: png("evil")})
    message = f"{archive}: the member {shown!r} would leave the archive's folder; remove it"
    assert check_failure(archive, tmp_path) == message


@pytest.mark.parametrize(
    "member",
    [
        link("train/cat/x.png", "/etc/passwd"),
        link("train/cat/x.png", "../../../secret.png"),
        link("train/cat/x.png", "nowhere.png", tarfile.LNKTYPE),
        link("train/cat/x.png", "", tarfile.FIFOTYPE),
    ],
)
def test_what_tarfile_refuses_to_unpack(tmp_path: Path, member: tarfile.TarInfo) -> None:
    write_tree(tmp_path, {"secret.png": png("secret")})
    archive = write_tar(tmp_path / "a.tar", TREE, (member,))
    assert failure(archive, tmp_path).startswith(f"{archive}: cannot be unpacked (")


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_cut_short(tmp_path: Path, name: str) -> None:
    archive = write_archive(tmp_path / name, TREE)
    whole = archive.read_bytes()
    for length in (0, 100, len(whole) // 2):
        archive.write_bytes(whole[:length])
        assert failure(archive, tmp_path).startswith(f"{archive}: cannot be unpacked (")


def test_a_tar_that_tarfile_takes_for_whole(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", TREE)
    with tarfile.open(archive) as opened:
        last = opened.getmembers()[-1].offset
    whole = archive.read_bytes()
    for content in (whole[:last], whole[: last + 1] + b"?" + whole[last + 2 :]):  # cut; a damaged header
        archive.write_bytes(content)
        assert "cannot be unpacked (it ends too early)" in check_failure(archive, tmp_path)


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_messages_name_the_member_below_its_wrapper(tmp_path: Path, name: str) -> None:
    contents = {f"images/{path}": content for path, content in TREE.items()}
    archive = write_archive(tmp_path / name, contents | {"images/train/eel": None})
    message = f"{archive}/images/train/eel: the class has no training images"
    assert check_failure(archive, tmp_path).startswith(message)
    write_archive(archive, contents | {"images/train/cat/a.png": b"x"})
    message = f"{archive}/images/train/cat/a.png: cannot be read as a picture"
    assert failure(archive, tmp_path).startswith(message)
    write_archive(archive, {"pictures/cat/0.png": png("")})
    assert check_failure(archive, tmp_path).startswith(f"{archive}: has no folder train")
    archive.write_bytes(png("") * 20)
    assert check_failure(archive, tmp_path).startswith(f"{archive}: cannot be unpacked (")


@pytest.mark.parametrize("again", ["train/cat/0.png", "./train/cat/0.png", "train//cat/0.png"])
@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_of_a_member_that_stands_twice_the_last_counts(tmp_path: Path, name: str, again: str) -> None:
    archive = write_archive(tmp_path / name, TREE)
    content = png("train/cat/2.png")
    if name == "a.zip":
        with zipfile.ZipFile(archive, "a") as zipped, warnings.catch_warnings(action="ignore"):
            zipped.writestr(again, content)
    else:
        with tarfile.open(archive, "a") as tarred:
            member = tarfile.TarInfo(again)
            member.size = len(content)
            tarred.addfile(member, io.BytesIO(content))
    one = next(one for one in folder(settings_for(archive), tmp_path / "scratch") if one.name == "cat")
    assert len(one.train) == 3
    np.testing.assert_array_equal(one.train[0], pixels_of("train/cat/2.png"))


def unexpected(*_: object) -> None:
    raise AssertionError("nothing may be written")


def test_classes_of_an_archive_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_tar(tmp_path / "a.tar", TREE)
    assert list_classes(settings_for(archive)) == ["Füchse 狐", "cat"]
    write_tar(archive, TREE | tree_of(train={"dog": 2}, test={"dog": 1}))
    assert list_classes(settings_for(archive)) == ["Füchse 狐", "cat", "dog"]
    archive = write_tar(tmp_path / "a.tar.gz", TREE)  # which would have to be read whole
    monkeypatch.setattr(tarfile, "open", unexpected)
    check_folder(settings_for(archive))
    assert list_classes(settings_for(archive)) == []


LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\")
TEXTS = st.text(LETTERS, min_size=1, max_size=8)
ODD = ["..", ".", "", "a", "A", "é", "e\u0301", ".hidden", "Thumbs.db", "C:", "a b", "con", "~"]
PATHS = st.lists(st.sampled_from(ODD) | TEXTS, min_size=1, max_size=4).map("/".join)
FILES = PATHS.map(lambda path: path.rstrip("/")).filter(lambda path: path[-1:] not in ("", "."))
MEMBERS = st.dictionaries(FILES, st.binary(max_size=8), max_size=5)


def parts_of(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.split("/") if part not in ("", "."))


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@given(members=MEMBERS)
def test_members_of_any_names_stay_inside_and_apart(name: str, members: dict[str, bytes]) -> None:
    """And come out under their names, or one sentence says why not."""
    with TemporaryDirectory() as directory:
        scratch = Path(directory, "inside/scratch")
        scratch.mkdir(parents=True)
        archive = write_archive(Path(directory, name), {**members})
        climb = any(path.startswith("/") or ".." in path.split("/") for path in members)
        try:
            found = {entry.parts: entry.file for entry in unpack(archive, scratch)}
        except UserError:
            files = {parts_of(path) for path in members}
            folders = {parts[:count] for parts in files for count in range(len(parts))}
            assert climb or len(files) < len(members) or files & folders
        else:
            assert not climb and len(found) == len(members)
            for path, content in members.items():
                file = found[parts_of(path)]
                assert file is not None and file.is_relative_to(scratch) and file.read_bytes() == content
        outside = {path for path in Path(directory).rglob("*") if not path.is_relative_to(scratch)}
        assert outside == {archive, scratch.parent}
