"""The folder source on directories, through download()."""

import os
import unicodedata
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from der.core.errors import UserError
from der.data.sources.folder import folder
from der.data.sources.registry import Counts, download
from der.settings.sections import SPLITS
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
    """The message of download() on a tree; holds that no array was written."""
    write_tree(root, contents)
    with pytest.raises(UserError) as caught:
        download(settings_for(root), tmp_path / "raw")
    assert not list(tmp_path.glob("raw/**/*.npy"))
    return str(caught.value)


def test_pixels_come_out_in_the_order_of_file_names(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "images", tree_of(train={"cat": 12, "dog": 2}, test={"cat": 1, "dog": 2}))
    assert download(settings_for(root), tmp_path / "raw") == Counts(classes=2, train=14, test=3)
    names = sorted(f"train/cat/{index}.png" for index in range(12))  # 0, 1, 10, 11, 2, ...
    wanted = np.stack([pixels_of(name) for name in names])
    assert np.array_equal(np.load(tmp_path / "raw/train/cat.npy"), wanted)
    assert np.array_equal(np.load(tmp_path / "raw/test/dog.npy"), expected("test", "dog", 2))


def test_without_test_folder_a_fraction_is_held_out(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "images", tree_of(train={"cat": 8, "dog": 4}))
    settings = settings_for(root, seed=5)
    assert download(settings, tmp_path / "raw") == Counts(classes=2, train=9, test=3)
    cats = {image.tobytes(): place for place, image in enumerate(expected("train", "cat", 8))}
    places = [[cats[one.tobytes()] for one in np.load(tmp_path / f"raw/{side}/cat.npy")] for side in SPLITS]
    assert sorted(chain(*places)) == [*range(8)] and all(one == sorted(one) for one in places)


def test_a_photo_keeps_its_side_if_others_come_or_its_class_is_renamed(tmp_path: Path) -> None:
    tree = tree_of(train={"cat": 40, "dog": 4})
    later = [name for name in tree if name.startswith("train/cat/3")]  # eleven of the forty
    root = write_tree(tmp_path / "images", {name: tree[name] for name in tree if name not in later})

    def tests_of(name: str, **changes: Any) -> set[bytes]:
        found = folder(settings_for(root, **changes), tmp_path / "scratch")
        return next({image.tobytes() for image in one.test} for one in found if one.name == name)

    before = tests_of("cat")
    assert len(before) == round(29 * settings_for(root).test_fraction) and tests_of("cat", seed=1) != before
    (root / "train/cat").rename(root / "train/lynx")
    assert tests_of("lynx") == before
    (root / "train/lynx").rename(root / "train/cat")
    write_tree(root, {name: tree[name] for name in later})
    news = {pixels_of(name).tobytes() for name in later}
    after = tests_of("cat")
    assert len(after) == round(40 * settings_for(root).test_fraction) > len(before)
    assert before <= after or after - news <= before  # none but those that the new ones displace


@pytest.mark.parametrize(
    ("tree", "fault"),
    [
        ({"train": {"cat": 3, "cat@2": 3}}, "has 1 of the two classes that are needed"),
        (SMALL | {"test": {"cat": 1, "dog": 1, "cat@2": 1}}, "/test/cat@2: photos for a later step are to"),
    ],
)
def test_photos_for_a_later_step_are_no_class(tmp_path: Path, tree: dict[str, Any], fault: str) -> None:
    assert fault in failure(tmp_path / "images", tree_of(**tree), tmp_path)


@pytest.mark.parametrize("test", [{}, {"test": {"cat": 2, "dog": 2}}], ids=["held out", "a folder"])
def test_photos_for_a_later_step_are_all_to_train_on(tmp_path: Path, test: dict[str, Any]) -> None:
    root = write_tree(tmp_path / "images", tree_of(train={"cat": 8, "cat@2": 1, "dog": 8}, **test))
    destination = tmp_path / "raw"
    assert download(settings_for(root), destination).classes == 2
    np.testing.assert_array_equal(np.load(destination / "train/cat@2.npy"), expected("train", "cat@2", 1))
    assert sorted(path.name for path in (destination / "test").glob("*.npy")) == ["cat.npy", "dog.npy"]


def test_class_names_with_spaces_and_other_letters_are_normalised(tmp_path: Path) -> None:
    composed, decomposed = "Große Füchse 狐", unicodedata.normalize("NFD", "Große Füchse 狐")
    contents = tree_of(train={decomposed: 2, "a, b": 2}, test={composed: 1, "a, b": 1})
    root = write_tree(tmp_path / "images", contents)
    found = folder(settings_for(root), tmp_path / "unused")
    assert [one.name for one in found] == [composed, "a, b"] != [decomposed, "a, b"]


def test_debris_and_what_lies_beside_the_splits_is_left_out(tmp_path: Path) -> None:
    left_out = ["README.txt", "validation/cat/0.txt", "train/.hidden/0.png", "train/__MACOSX/0.png"]
    left_out += ["train/cat/@eaDir/0.png/SYNOPHOTO_THUMB_S.jpg"]
    passed_over = ["train/.DS_Store", "train/cat/Thumbs.db", "train/dog/desktop.ini", "train/cat/Icon\r"]
    passed_over += ["train/dog/more.lnk", "test/cat/._0.png", "train/labels.csv", "train/cat/notes.TXT"]
    debris: Contents = dict.fromkeys([*left_out, *passed_over], b"x")
    root = write_tree(tmp_path / "images", tree_of(**SMALL) | debris)
    counts = Counts(classes=2, train=5, test=3, passed_over=len(passed_over))
    assert download(settings_for(root), tmp_path / "raw") == counts


def test_a_linked_root_and_linked_files_are_followed(tmp_path: Path) -> None:
    store = write_tree(tmp_path / "store", tree_of(**SMALL))
    for file in store.rglob("*.png"):
        link = tmp_path / "images" / file.relative_to(store)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    (tmp_path / "root").symlink_to(tmp_path / "images")
    assert download(settings_for(tmp_path / "root"), tmp_path / "raw") == Counts(classes=2, train=5, test=3)
    assert np.array_equal(np.load(tmp_path / "raw/train/cat.npy"), expected("train", "cat", 3))


@pytest.mark.parametrize("place", ["train", "test/dog"])
def test_a_linked_directory_below_the_root_is_named(tmp_path: Path, place: str) -> None:
    root = write_tree(tmp_path / "images", tree_of(**SMALL))
    (root / place).rename(tmp_path / "elsewhere")
    (root / place).symlink_to(tmp_path / "elsewhere")
    message = f"{root / place}: a link to a directory, in which DVC notices no change; put the directory"
    assert failure(root, {}, tmp_path).startswith(message)


@pytest.mark.parametrize("count", [1, 2, 23])
@pytest.mark.parametrize("test", [{}, {"test": {"ant": 1, "cat": 1, "dog": 2}}], ids=["held out", "test"])
def test_unreadable_pictures_are_named(tmp_path: Path, test: dict[str, dict[str, int]], count: int) -> None:
    bad = sorted(["train/cat/x.png", *(f"train/dog/{number:02}.HEIC" for number in range(1, count))])
    contents: Contents = tree_of(train={"ant": 3, "cat": 3, "dog": 2}, **test)
    root = write_tree(tmp_path / "images", contents | dict.fromkeys(bad, b"barks"))
    with pytest.raises(UserError) as caught:
        download(settings_for(root), tmp_path / "raw")
    if count == 1:
        advice = "convert it to JPEG or remove it"
        assert str(caught.value) == f"{root}/{bad[0]}: cannot be read as a picture; {advice}"
        return
    assert str(caught.value).startswith(f"{count} pictures cannot be read or are too large; convert them ")
    more = " and 3 more" if count == 23 else ""
    assert str(caught.value).endswith(f": {', '.join(f'{root}/{path}' for path in bad[:20])}{more}")


TREE = tree_of(**SMALL)
ONE_CLASS = tree_of(train={"cat": 2}, test={"cat": 1})


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (tree_of(train={"cat": 2, "dog": 2}, test={"cat": 1}), "/test/dog: the class has no test images"),
        (ONE_CLASS | tree_of(test={"dog": 1}), "/train/dog: the class has no training images"),
        (TREE | {"train/eel": None}, "/train/eel: the class has no training images"),
        (TREE | {"train/eel/0.txt": b""}, "/train/eel: the class has no training images"),
        (tree_of(train={"cat": 2, "dog": 2}) | {"test": None}, "/test/cat: the class has no test images"),
        (tree_of(train={"cat": 2, "dog": 1}), "/train/dog: one image cannot be divided"),
        (ONE_CLASS, ": has 1 of the two classes"),
        ({"train": None}, ": has 0 of the two classes"),
        (tree_of(test={"cat": 2}), ": has no folder train"),
        (TREE | {"train/0.png": b""}, "/train/0.png: a file outside the class folders"),
        (TREE | {"train/cat/old/0.png": b""}, "/train/cat/old: a folder inside a class folder"),
        (TREE | {"train/a\nb/0.png": b""}, "a class name has 1 to 240 bytes"),
        (TREE | {"train/a\\b/0.png": b""}, "a class name has 1 to 240 bytes"),
        (TREE | {"train/a\udcff/0.png": b""}, "is no UTF-8, as names of files are"),
        (TREE | {"train/cat/\udcff.png": b""}, "train/cat: '\\udcff.png' is no UTF-8, as names of files are"),
        (TREE | {f"train/{'é' * 121}/0.png": b""}, "a class name has 1 to 240 bytes"),
        (TREE | {f"train/{name}/0.png": b"" for name in ("\u00e9", "e\u0301")}, "two folders are named 'é'"),
    ],
)
def test_wrong_trees_are_named(tmp_path: Path, contents: Contents, message: str) -> None:
    assert message in failure(tmp_path / "images", contents, tmp_path)


def test_names_that_the_file_system_confuses(tmp_path: Path) -> None:
    """As on a file system that takes Cat for cat: the second file would replace the first."""
    root = write_tree(tmp_path / "images", TREE)
    write_tree(tmp_path / "raw/train", {"dog.npy": b""})
    with pytest.raises(UserError, match=r"dog\.npy: two classes' names differ in case only"):
        download(settings_for(root), tmp_path / "raw")


@pytest.mark.parametrize("name", ["gone.png", ".gone"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("nowhere", path)], ids=["pipe", "link"])
def test_neither_file_nor_folder(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    """DVC, which reads what is hidden too, waits for a pipe without end, and stops at a link to nothing."""
    root = write_tree(tmp_path / "images", TREE)
    make(root / "train/cat" / name)
    assert f"train/cat/{name}: neither file nor folder" in failure(root, {}, tmp_path)


def test_a_path_that_is_neither_directory_nor_archive(tmp_path: Path) -> None:
    assert "nowhere: there is no such directory or archive" in failure(tmp_path / "nowhere", {}, tmp_path)
    for name in ("cat.png", "images.rar"):
        (tmp_path / name).write_bytes(png("cat"))
        assert f"{name}: neither a directory nor a .zip, .tar," in failure(tmp_path / name, {}, tmp_path)
    os.mkfifo(tmp_path / "pipe.zip")
    assert "pipe.zip: neither a directory nor a .zip, " in failure(tmp_path / "pipe.zip", {}, tmp_path)
