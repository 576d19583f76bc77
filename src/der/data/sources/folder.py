"""Reads a user's images from a directory or an archive: train/<class>/*, and test/<class>/* if it exists."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from der.core.errors import UserError, composed, naming
from der.core.files import digest, read_array
from der.data.sources import LATER, ClassImages, check_name, count_tests, pictures
from der.settings.sections import SPLITS, DatasetSettings

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


class Entry(NamedTuple):
    parts: tuple[str, ...]  # of its path below the root
    file: Path | None  # where the content can be read; None for a folder


Splits = dict[str, dict[str, list[Entry]]]  # split -> class -> files in the order of their names


def folder(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """Yield the classes under ``settings.path`` in alphabetical order, their images in order of names.

    Without a folder test, a fraction of every class is held out. Arrays lie in files of ``scratch``, which is
    removed at the end. Files whose names are no pictures' are skipped; the first class has their number.
    Raises UserError for every mistake in the tree, and at the end for all pictures that cannot be read; after
    the first unreadable picture it yields no more classes.
    """
    path = Path(settings.path)
    if not path.exists():
        raise UserError(f"{path}: there is no such directory or archive; put one there or edit dataset.path")
    if not path.is_dir():
        check_archive(path)
    scratch.mkdir(parents=True)
    try:
        if path.is_dir():
            where, entries = str(path), list(scan(path))
        else:
            where, entries = unwrap(path, unpack(path, scratch / "archive"))
        yield from _classes(entries, where, settings, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_folder(settings: DatasetSettings) -> None:
    """Raise UserError for a directory without a tree of classes, and for a file that cannot be unpacked."""
    path = Path(settings.path)
    if path.is_dir():
        _sort(scan(path), str(path))
    else:
        list_classes(settings)


def list_classes(settings: DatasetSettings) -> list[str]:
    """List the classes in a directory or an archive, in alphabetical order.

    The list is empty if nothing is there, and for a compressed .tar, which would have to be read completely.
    """
    path = Path(settings.path)
    if path.exists() and not path.is_dir():
        check_archive(path)
        if not path.name.lower().endswith((".zip", ".tar")):
            return []
        where, entries = unwrap(path, survey(path))
        return sorted(_sort(entries, where)[0]["train"])
    train = path / "train"
    if not train.is_dir():
        return []
    with os.scandir(train) as found:
        folders = [item.name for item in found if item.is_dir() and not pictures.is_ignored(item.name)]
    return sorted({composed(name) for name in folders})


def scan(root: Path) -> Iterator[Entry]:
    """Yield the entries of the splits in the directory ``root``; links to files are followed.

    Raises UserError for a link to a directory: DVC does not look into it and would miss a changed image.
    """
    for split in SPLITS:
        if (root / split).is_dir():
            check_no_link(root / split)
            yield from _scan(root, (split,), levels=2)


def build_tree(entries: Iterable[Entry], where: str) -> tuple[Splits, int]:
    """Sort entries into splits and classes (names in Unicode NFC); ``where`` names the root in messages.

    Hidden entries, and entries beside train and test, are left out. The second result is the number of other
    files whose names are no pictures' names. Raises UserError for every mistake in the tree.
    """
    tree: Splits = {}
    passed_over = 0
    spelt: dict[tuple[str, str], str] = {}  # split, class -> the name of its folder
    for parts, file in sorted(entries, key=lambda entry: entry.parts):
        folders = parts if file is None else parts[:-1]
        if not parts or parts[0] not in SPLITS or any(map(pictures.is_ignored, folders)):
            continue
        split, *below = parts
        place = "/".join((where, *parts))
        if file is not None and pictures.is_no_picture(parts[-1]):
            passed_over += 1
            continue
        if len(folders) > 2:
            raise UserError(f"{place}: a folder inside a class folder; move its images up")
        if len(folders) < 2 and file is not None:
            raise UserError(f"{place}: a file outside the class folders; move it into one or remove it")
        classes = tree.setdefault(split, {})
        if below:
            name = composed(below[0])
            with naming(repr(place)):
                check_name(name)
            if spelt.setdefault((split, name), below[0]) != below[0]:
                raise UserError(f"{place}: two folders are named {name!r} (in Unicode NFC); rename one")
            files = classes.setdefault(name, [])
            if file is not None:
                files.append(Entry(parts, file))
    if "train" not in tree:
        raise UserError(f"{where}: has no folder train; put images into train/<class>/")
    return tree, passed_over


def check_no_link(directory: Path) -> None:
    if directory.is_symlink():
        fault = "a link to a directory, in which DVC notices no change"
        raise UserError(f"{directory}: {fault}; put the directory there")


def unwrap(archive: Path, entries: list[Entry]) -> tuple[str, list[Entry]]:
    """Remove a single folder around train/ from an archive's entries; also name the root for messages."""
    wrappers = {
        parts[:1] for parts, _ in entries if parts[1:2] == ("train",) and not pictures.is_ignored(parts[0])
    }
    if any(parts[:1] == ("train",) for parts, _ in entries) or len(wrappers) != 1:
        return str(archive), entries
    (wrapper,) = wrappers
    inside = [Entry(parts[1:], file) for parts, file in entries if parts[:1] == wrapper]
    return f"{archive}/{wrapper[0]}", inside


def _scan(root: Path, parts: tuple[str, ...], levels: int) -> Iterator[Entry]:
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
        if any(0xD800 <= ord(letter) <= 0xDFFF for letter in item.name):  # DVC and JSON have no such names
            raise UserError(f"{directory}: {item.name!a} is no UTF-8, as names of files are; rename it")
        inside = (*parts, item.name)
        if item.is_dir():
            if not pictures.is_ignored(item.name):
                check_no_link(Path(item.path))
                yield from _scan(root, inside, levels - 1)
        elif item.is_file():
            yield Entry(inside, Path(item.path))
        else:
            raise UserError(f"{item.path}: neither file nor folder; remove it")


def _sort(entries: Iterable[Entry], where: str) -> tuple[Splits, int]:
    """Like ``build_tree``; raises UserError unless there are two classes, each with enough images."""
    tree, passed_over = build_tree(entries, where)
    names = sorted({name for classes in tree.values() for name in classes if not LATER.fullmatch(name)})
    if wrong := next((name for name in tree.get("test", {}) if LATER.fullmatch(name)), None):
        raise UserError(f"{where}/test/{wrong}: photos for a later step are to train on; move or rename it")
    for name in names:
        counts = {split: len(tree[split].get(name, [])) for split in SPLITS if split in tree}
        for split, count in counts.items():
            if not count:
                kind = {"train": "training", "test": "test"}[split]
                raise UserError(f"{where}/{split}/{name}: the class has no {kind} images; add some there")
        if sum(counts.values()) < 2:
            fault = "one image cannot be divided into training and test images"
            raise UserError(f"{where}/train/{name}: {fault}; add more")
    if len(names) < 2:
        raise UserError(f"{where}: has {len(names)} of the two classes that are needed; add train/<class>/")
    return tree, passed_over


def _classes(
    entries: list[Entry], where: str, settings: DatasetSettings, scratch: Path
) -> Generator[ClassImages, None, None]:
    splits, passed_over = _sort(entries, where)
    classes: list[tuple[str, list[Entry], list[Entry]]] = []  # names, files of training and of test images
    for name, train in sorted(splits["train"].items()):
        if "test" in splits:
            classes.append((name, train, splits["test"].get(name, [])))
        else:
            # By file names alone: most photos keep their side if others come, all if the class is renamed.
            order = sorted(train, key=lambda one: digest(f"{settings.seed} {one.parts[-1]}".encode()))
            held = {*order[: count_tests(name, len(train), settings)]}
            classes.append((name, [one for one in train if one not in held], sorted(held)))
    every = [one for _, *both in classes for one in chain(*both)]
    listed = [pictures.Picture("/".join((where, *parts)), file) for parts, file in every if file is not None]
    faults: list[pictures.Fault] = []
    with closing(pictures.decode(listed, settings.side, settings.channels, len(listed))) as decoded:
        for number, (name, *parts) in enumerate(classes):
            files = [scratch / f"{number}.{split}.npy" for split in SPLITS]
            found = list[pictures.Fault]()
            for file, part in zip(files, parts, strict=True):
                found += pictures.write_decoded(file, range(len(part)), decoded, settings)
            faults += found if "test" in splits else sorted(found)
            if not faults:  # else read the other pictures, so that one message names all faults
                read = [read_array(file, mapped=True) for file in files]
                yield ClassImages(name, read[0], read[1], passed_over)
                passed_over = 0
    if faults:
        raise UserError(pictures.describe(faults))


def check_archive(path: Path) -> None:
    if not path.is_file() or not path.name.lower().endswith(ARCHIVES):
        raise UserError(f"{path}: neither a directory nor a {', '.join(ARCHIVES)} file; edit dataset.path")


def survey(archive: Path) -> list[Entry]:
    """List an archive's entries, the archive in place of each file; of a file that stands twice, the last."""
    return _survey(archive, archive.stat().st_mtime_ns)


@lru_cache(maxsize=1)  # seconds for 100,000 members, and asked for several times
def _survey(archive: Path, _moment: int) -> list[Entry]:
    entries = dict[tuple[str, ...], Entry]()
    with _readable(archive):
        for name, is_folder in _members(archive):
            parts = tuple(part for part in name.split("/") if part not in ("", "."))
            if name.startswith("/") or ".." in parts:
                raise UserError(f"{archive}: the member {name!r} would leave the archive's folder; remove it")
            entries[parts] = Entry(parts, None if is_folder else archive)
    return list(entries.values())


def unpack(archive: Path, scratch: Path) -> list[Entry]:
    """Unpack an archive into the directory ``scratch``; return what it held."""
    entries = survey(archive)
    with _readable(archive):
        if _is_zip(archive):
            with _open_zip(archive) as zipped:
                for info in zipped.infolist():
                    zipped.extract(info, scratch)
        else:
            with tarfile.open(archive) as tarred:
                tarred.extractall(scratch, filter="data")
    return [Entry(parts, file and scratch.joinpath(*parts)) for parts, file in entries]


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # those of tarfile, zipfile and every compression
        reason = " ".join(str(error).split())  # tarfile's has a line for every compression it tried
        raise UserError(f"{archive}: cannot be unpacked ({reason}); get it or pack it again") from None


def _is_zip(archive: Path) -> bool:
    return archive.name.lower().endswith(".zip")


def _open_zip(archive: Path) -> zipfile.ZipFile:
    """Open a .zip file; read names without a known encoding as UTF-8 if possible, as macOS writes them."""
    try:
        opened = zipfile.ZipFile(archive, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        opened = zipfile.ZipFile(archive)
    for info in opened.infolist():
        info.filename = info.filename.replace("\\", "/")  # some Windows programs write those
    return opened


def _members(archive: Path) -> Iterator[tuple[str, bool]]:
    if _is_zip(archive):
        with _open_zip(archive) as zipped:
            yield from ((one.filename, one.is_dir()) for one in zipped.infolist())
        return
    with tarfile.open(archive) as tarred:
        yield from ((one.name, one.isdir()) for one in tarred)
        # tarfile takes a damaged header for the end, and stops short of the last checksum.
        assert tarred.fileobj is not None
        tarred.fileobj.seek(tarred.offset)
        if tarred.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends too early")
        while tarred.fileobj.read(2**20):
            pass
