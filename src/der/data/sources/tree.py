"""A tree of images, {train,test}/<class>/*, as lists of files per class; checked before any is decoded."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from der.core.errors import UserError, naming
from der.data.sources.class_names import check_name
from der.data.splits import SPLITS

DEBRIS = ("__macosx", "icon\r", "thumbs.db", "desktop.ini", "@eadir")  # what operating systems leave behind
OTHER_FILES = (  # suffixes of what people and programs keep beside pictures, and Pillow does not read
    *(".txt", ".md", ".rst", ".html", ".htm", ".pdf", ".doc", ".docx", ".odt", ".log"),
    *(".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".xls", ".xlsx"),
    *(".npy", ".npz", ".pkl", ".mat", ".h5", ".db", ".sqlite", ".py", ".ipynb", ".sh", ".md5", ".sha256"),
    *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".mp3", ".m4a", ".wav"),
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".mpg", ".mpeg", ".webm", ".wmv", ".flv", ".ogv"),
    *(".3gp", ".3g2", ".mts", ".m2ts", ".vob", ".lrv"),
    *(".bak", ".tmp", ".part", ".crdownload", ".lock", ".dvc", ".aae", ".xmp", ".thm", ".pp3", ".dop"),
    *(".lnk", ".url", ".webloc"),
)
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")

Parts = tuple[str, ...]  # of a path below the tree's root


class Entry(NamedTuple):
    """A file or folder of the tree."""

    parts: Parts
    file: Path | None  # where the content can be read; None for a folder


Splits = dict[str, dict[str, list[Entry]]]  # split -> class -> files in the order of their names


class Tree(NamedTuple):
    """Pictures by split and class."""

    splits: Splits
    passed_over: int  # files that are no pictures by their names


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left behind by an operating system."""
    return name.startswith(".") or name.lower() in DEBRIS


def is_no_picture(name: str) -> bool:
    """Whether a file of this name is passed over where pictures are looked for: hidden or of another kind."""
    return is_ignored(name) or name.lower().endswith(OTHER_FILES)


def list_folder(root: Path) -> list[str]:
    """The classes in a directory of images, in alphabetical order; none in an archive or nowhere."""
    train = root / "train"
    if not train.is_dir():
        return []
    with os.scandir(train) as found:
        folders = [item.name for item in found if item.is_dir() and not is_ignored(item.name)]
    return sorted({unicodedata.normalize("NFC", name) for name in folders})


def check_archive(path: Path) -> None:
    """Raise UserError for what has not the name of an archive."""
    if not path.is_file() or not path.name.lower().endswith(ARCHIVES):
        raise UserError(f"{path}: neither a directory nor a {', '.join(ARCHIVES)} file; edit dataset.path")


def scan(root: Path) -> Iterator[Entry]:
    """Yield what lies in the splits of the directory ``root``; links to files are followed.

    Raises UserError for a link to a directory: DVC does not look into it, so a changed image would go
    unnoticed.
    """
    for split in SPLITS:
        if (root / split).is_dir():
            check_own(root / split)
            yield from _scan(root, (split,), levels=2)


def is_text(name: str) -> bool:
    """Whether a name is what its bytes say in UTF-8; DVC and JSON have no others."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_own(directory: Path) -> None:
    """Raise UserError for a link to a directory."""
    if directory.is_symlink():
        raise UserError(
            f"{directory}: a link to a directory, in which DVC notices no change; put the directory there"
        )


def _scan(root: Path, parts: Parts, levels: int) -> Iterator[Entry]:
    yield Entry(parts, None)
    if not levels:
        return
    directory = root.joinpath(*parts)
    try:
        with os.scandir(directory) as found:
            items = list(found)
    except OSError as error:
        raise UserError(f"{directory}: cannot be read ({error.strerror})") from None
    for item in items:
        if not is_text(item.name):
            raise UserError(f"{directory}: {item.name!a} is no UTF-8, as names of files are; rename it")
        inside = (*parts, item.name)
        if item.is_dir():
            if not is_ignored(item.name):
                check_own(Path(item.path))
                yield from _scan(root, inside, levels - 1)
        elif item.is_file():
            yield Entry(inside, Path(item.path))
        else:
            raise UserError(f"{item.path}: neither file nor folder; remove it")


def unwrap(entries: list[Entry]) -> tuple[Parts, list[Entry]]:
    """Take a single folder around train/ off an archive's entries; returns that folder's parts too."""
    if any(entry.parts[:1] == ("train",) for entry in entries):
        return (), entries
    wrappers = {entry.parts[:1] for entry in entries if entry.parts[1:2] == ("train",)}
    if len(wrappers) != 1:
        return (), entries
    (wrapper,) = wrappers
    inside = [Entry(parts[1:], file) for parts, file in entries if parts[:1] == wrapper]
    return wrapper, inside


def build_tree(entries: Iterable[Entry], where: str) -> Tree:
    """Sort entries into splits and classes (names in Unicode NFC); ``where`` names the root in messages.

    What lies beside train and test is left out, and what is no picture by its name counted. Raises UserError
    for a missing train folder, a file outside a class folder, a folder inside one, two class folders of one
    split whose names coincide, and a class name that no file can have.
    """
    tree: Splits = {}
    passed_over = 0
    spelt: dict[tuple[str, str], str] = {}  # split, class -> the name of its folder
    for entry in sorted(entries, key=lambda entry: entry.parts):
        if not entry.parts or entry.parts[0] not in SPLITS:
            continue
        split, *below = entry.parts
        place = "/".join((where, *entry.parts))
        is_folder = entry.file is None
        if not is_folder and is_no_picture(entry.parts[-1]):
            passed_over += 1
            continue
        if len(below) > 2 or (len(below) == 2 and is_folder):
            raise UserError(f"{place}: a folder inside a class folder; move its images up")
        if len(below) < 2 and not is_folder:
            raise UserError(f"{place}: a file outside the class folders; move it into one or remove it")
        classes = tree.setdefault(split, {})
        if below:
            name = _class_name(below[0], place)
            if spelt.setdefault((split, name), below[0]) != below[0]:
                raise UserError(f"{place}: two folders are named {name!r} (in Unicode NFC); rename one")
            classes.setdefault(name, [])
            if not is_folder:
                classes[name].append(entry)
    if "train" not in tree:
        raise UserError(f"{where}: has no folder train; put images into train/<class>/")
    return Tree(tree, passed_over)


def _class_name(folder: str, place: str) -> str:
    name = unicodedata.normalize("NFC", folder)
    with naming(repr(place)):
        check_name(name)
    return name


def check_splits(tree: Splits, where: str) -> None:
    """Raise UserError unless there are two classes, each with training and test images, or two to divide."""
    names = sorted({name for classes in tree.values() for name in classes})
    for name in names:
        counts = {split: len(tree[split].get(name, [])) for split in SPLITS if split in tree}
        for split, count in counts.items():
            if not count:
                kind = "training" if split == "train" else "test"
                raise UserError(f"{where}/{split}/{name}: the class has no {kind} images; add some there")
        if sum(counts.values()) < 2:
            raise UserError(
                f"{where}/train/{name}: one image cannot be divided into training and test images; add more"
            )
    if len(names) < 2:
        raise UserError(f"{where}: has {len(names)} of the two classes that are needed; add train/<class>/")
