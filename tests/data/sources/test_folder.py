"""The folder source on directories, through download()."""

import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from der.core.errors import UserError
from der.data.sources import hold_out
from der.data.sources.registry import Counts, download
from der.data.sources.folder import folder
from der.data.sources.pictures import is_no_picture
from tests.data.sources.image_trees import (
    Contents,
    expected,
    pixels_of,
    png,
    settings_for,
    tree_of,
    write_tree,
)

SMALL = {"train": {"cat": 3, "dog": 2}, "test": {"cat": 1, "dog": 2}}


def failure(root: Path, contents: Contents, tmp_path: Path) -> str:
    """The message of download() on a tree; holds that nothing was written before it was found wrong."""
    write_tree(root, contents)
    with pytest.raises(UserError) as caught:
        download(settings_for(root), tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    return str(caught.value)


def test_pixels_come_out_in_the_order_of_file_names(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "images", tree_of(train={"cat": 12, "dog": 2}, test={"cat": 1, "dog": 2}))
    assert download(settings_for(root), tmp_path / "raw") == Counts(classes=2, train=14, test=3)
    names = sorted(f"train/cat/{index}.png" for index in range(12))  # 0, 1, 10, 11, 2, ...
    wanted = np.stack([pixels_of(name) for name in names])
    assert np.array_equal(np.load(tmp_path / "raw" / "train" / "cat.npy"), wanted)
    assert np.array_equal(np.load(tmp_path / "raw" / "test" / "dog.npy"), expected("test", "dog", 2))


def test_without_test_folder_a_fraction_is_held_out(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "images", tree_of(train={"cat": 8, "dog": 4}))
    settings = settings_for(root, seed=5)
    assert download(settings, tmp_path / "raw") == Counts(classes=2, train=9, test=3)
    wanted = hold_out("cat", expected("train", "cat", 8), settings)
    assert np.array_equal(np.load(tmp_path / "raw" / "train" / "cat.npy"), wanted.train)
    assert np.array_equal(np.load(tmp_path / "raw" / "test" / "cat.npy"), wanted.test)


def test_class_names_with_spaces_and_other_letters_are_normalised(tmp_path: Path) -> None:
    composed, decomposed = "Große Füchse 狐", unicodedata.normalize("NFD", "Große Füchse 狐")
    assert composed != decomposed
    contents = tree_of(train={decomposed: 2, "a, b": 2}, test={composed: 1, "a, b": 1})
    root = write_tree(tmp_path / "images", contents)
    assert [one.name for one in folder(settings_for(root), tmp_path / "unused")] == [composed, "a, b"]
    download(settings_for(root), tmp_path / "raw")
    assert (tmp_path / "raw" / "train" / f"{composed}.npy").exists()


def test_debris_and_what_lies_beside_the_splits_is_left_out(tmp_path: Path) -> None:
    debris: Contents = {
        "README.txt": b"about",
        "validation/cat/0.txt": b"not looked at",
        "train/.DS_Store": b"x",
        "train/cat/.DS_Store": b"x",
        "train/cat/Thumbs.db": b"x",
        "train/dog/desktop.ini": b"x",
        "train/.hidden/0.png": b"x",
        "train/__MACOSX/0.png": b"x",
        "train/cat/@eaDir/0.png/SYNOPHOTO_THUMB_S.jpg": b"x",
        "train/cat/Icon\r": b"",
        "train/dog/more.lnk": b"x",
        "test/cat/._0.png": b"x",
        "train/labels.csv": b"cat",
        "train/cat/notes.TXT": b"purrs",
        "test/dog/0.json": b"{}",
    }
    root = write_tree(tmp_path / "images", tree_of(**SMALL) | debris)
    counts = Counts(classes=2, train=5, test=3, passed_over=10)  # files where pictures are
    assert download(settings_for(root), tmp_path / "raw") == counts


def test_a_linked_root_and_linked_files_are_followed(tmp_path: Path) -> None:
    store = write_tree(tmp_path / "store", tree_of(**SMALL))
    for file in store.rglob("*.png"):
        link = tmp_path / "images" / file.relative_to(store)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    (tmp_path / "root").symlink_to(tmp_path / "images")
    assert download(settings_for(tmp_path / "root"), tmp_path / "raw") == Counts(classes=2, train=5, test=3)
    assert np.array_equal(np.load(tmp_path / "raw" / "train" / "cat.npy"), expected("train", "cat", 3))


@pytest.mark.parametrize("place", ["train", "test", "train/cat", "test/dog"])
def test_a_linked_directory_below_the_root_is_named(tmp_path: Path, place: str) -> None:
    root = write_tree(tmp_path / "images", tree_of(**SMALL))
    (root / place).rename(tmp_path / "elsewhere")
    (root / place).symlink_to(tmp_path / "elsewhere")
    message = (
        f"{root / place}: a link to a directory, in which DVC notices no change; put the directory there"
    )
    assert failure(root, {}, tmp_path).startswith(message)


def test_unreadable_picture_is_named_and_stops_the_download(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "images", tree_of(**SMALL) | {"train/dog/x.png": b"barks"})
    with pytest.raises(UserError, match=f"{root}/train/dog/x.png: cannot be read as a picture"):
        download(settings_for(root), tmp_path / "raw")


@pytest.mark.parametrize("count", [2, 20, 23])
@pytest.mark.parametrize("test", [{}, {"test": {"ant": 1, "cat": 1, "dog": 2}}], ids=["held out", "test"])
def test_all_unreadable_pictures_are_named(
    tmp_path: Path, test: dict[str, dict[str, int]], count: int
) -> None:
    bad = sorted(["train/cat/x.png", *(f"train/dog/{number:02}.png" for number in range(1, count))])
    contents: Contents = tree_of(train={"ant": 3, "cat": 3, "dog": 2}, **test)
    root = write_tree(tmp_path / "images", contents | dict.fromkeys(bad, b"barks"))
    with pytest.raises(UserError) as caught:
        download(settings_for(root), tmp_path / "raw")
    more = f" and {count - 20} more" if count > 20 else ""
    assert str(caught.value) == (
        f"{count} pictures cannot be read or are too large; repair or remove them: "
        f"{', '.join(f'{root}/{path}' for path in bad[:20])}{more}"
    )


def test_pictures_that_have_to_be_converted_are_named_as_such(tmp_path: Path) -> None:
    photos: Contents = {f"train/cat/IMG_{number}.HEIC": b"\0\0\0\x18ftypheic" for number in range(2)}
    root = write_tree(tmp_path / "images", tree_of(**SMALL) | photos)
    several = (
        "2 pictures are of a form that Pillow does not read; convert them to JPEG: "
        f"{root}/train/cat/IMG_0.HEIC, {root}/train/cat/IMG_1.HEIC"
    )
    with pytest.raises(UserError, match=f"^{re.escape(several)}$"):
        download(settings_for(root), tmp_path / "raw")
    write_tree(root, {"train/cat/0.jpg": b""})
    with pytest.raises(
        UserError, match=f"^{re.escape(several)}; and {root}/train/cat/0.jpg: cannot be read as a picture; "
    ):
        download(settings_for(root), tmp_path / "again")


def test_films_are_passed_over_and_what_cameras_write_is_not() -> None:
    films = ["mp4", "m4v", "mov", "avi", "mkv", "mpg", "mpeg", "webm", "wmv", "flv", "3gp", "mts", "m2ts"]
    assert all(is_no_picture(f"1.{suffix}") and is_no_picture(f"1.{suffix.upper()}") for suffix in films)
    pictures = ["jpg", "JPG", "webp", "heic", "nef", "DNG", "svg", "psd"]
    assert not any(is_no_picture(f"1.{suffix}") for suffix in pictures)


def test_bad_test_images_are_named_with_those_for_training(tmp_path: Path) -> None:
    bad: Contents = {"train/dog/x.png": b"", "test/cat/x.png": b""}
    root = write_tree(tmp_path / "images", tree_of(**SMALL) | bad)
    with pytest.raises(UserError, match=f"^2 .+: {root}/test/cat/x.png, {root}/train/dog/x.png$"):
        download(settings_for(root), tmp_path / "raw")


@pytest.mark.parametrize("name", ["images.zip", "images.tar"])
def test_a_pipe_with_an_archive_s_name_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}: neither a directory nor a \.zip, "):
        download(settings_for(tmp_path / name), tmp_path / "raw")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (tree_of(train={"cat": 2, "dog": 2}, test={"cat": 1}), "/test/dog: the class has no test images"),
        (
            tree_of(train={"cat": 2}, test={"cat": 1, "dog": 1}),
            "/train/dog: the class has no training images",
        ),
        (tree_of(**SMALL) | {"train/eel": None}, "/train/eel: the class has no training images"),
        (
            tree_of(train={"cat": 2, "eel": 1}, test={"cat": 1}) | {"test/eel": None},
            "/test/eel: the class has no test images",
        ),
        (tree_of(train={"cat": 2, "dog": 2}) | {"test": None}, "/test/cat: the class has no test images"),
        (tree_of(train={"cat": 2}) | {"train/eel": None}, "/train/eel: the class has no training images"),
        (tree_of(train={"cat": 2, "dog": 1}), "/train/dog: one image cannot be divided"),
        (tree_of(train={"cat": 2}, test={"cat": 1}), ": has 1 of the two classes"),
        (tree_of(**SMALL) | {"train/eel/0.txt": b""}, "/train/eel: the class has no training images"),
        ({"train": None}, ": has 0 of the two classes"),
        (tree_of(test={"cat": 2}), ": has no folder train"),
        (tree_of(**SMALL) | {"train/0.png": png("")}, "/train/0.png: a file outside the class folders"),
        (
            tree_of(**SMALL) | {"train/cat/old/0.png": png("")},
            "/train/cat/old: a folder inside a class folder",
        ),
        (tree_of(**SMALL) | {"train/a\nb/0.png": png("")}, "a class name cannot have control characters"),
        (tree_of(**SMALL) | {"train/a\\b/0.png": png("")}, "a class name cannot have control characters"),
        (tree_of(**SMALL) | {"train/a\udcff/0.png": png("")}, "is no UTF-8, as names of files are"),
        (tree_of(**SMALL) | {f"train/{'é' * 121}/0.png": png("")}, "a class name of over 240 bytes"),
    ],
)
def test_wrong_trees_are_named(tmp_path: Path, contents: Contents, message: str) -> None:
    assert message in failure(tmp_path / "images", contents, tmp_path)


def test_names_that_coincide_in_unicode(tmp_path: Path) -> None:
    twice = {unicodedata.normalize(form, "é"): 1 for form in ("NFC", "NFD")}
    message = failure(tmp_path / "images", tree_of(train={"cat": 2, **twice}), tmp_path)
    assert "two folders are named 'é'" in message


def test_names_that_the_file_system_confuses(tmp_path: Path) -> None:
    """As on a file system that takes Cat for cat: the second file would replace the first."""
    root = write_tree(tmp_path / "images", tree_of(**SMALL))
    (tmp_path / "raw" / "train").mkdir(parents=True)
    (tmp_path / "raw" / "train" / "dog.npy").touch()
    with pytest.raises(UserError, match=r"dog\.npy: two classes' names differ in case only"):
        download(settings_for(root), tmp_path / "raw")


@pytest.mark.parametrize("name", ["gone.png", "gone.txt", ".gone"])
def test_neither_file_nor_folder(tmp_path: Path, name: str) -> None:
    """DVC, which reads what is hidden too, waits for a pipe without end, and stops at a link to nothing."""
    root = write_tree(tmp_path / "images", tree_of(**SMALL))
    path = root / "train" / "cat" / name
    os.mkfifo(path)
    with pytest.raises(UserError, match=f"train/cat/{name}: neither file nor folder"):
        download(settings_for(root), tmp_path / "raw")
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(UserError, match=f"train/cat/{name}: neither file nor folder"):
        download(settings_for(root), tmp_path / "raw")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "images", tree_of(**SMALL))
    try:
        Path(os.fsdecode(os.fsencode(root / "train" / "cat") + b"/\xff.png")).touch()
    except OSError:
        pytest.skip("the file system takes no such name")
    with pytest.raises(
        UserError, match=r"train/cat: '\\udcff.png' is no UTF-8, as names of files are; rename"
    ):
        download(settings_for(root), tmp_path / "raw")


def test_missing_path_and_file_that_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: there is no such directory or archive"):
        download(settings_for(tmp_path / "nowhere"), tmp_path / "raw")
    (tmp_path / "cat.png").write_bytes(png("cat"))
    with pytest.raises(UserError, match=r"cat\.png: neither a directory nor a \.zip, \.tar,"):
        download(settings_for(tmp_path / "cat.png"), tmp_path / "raw")
