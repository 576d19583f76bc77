"""What anyone's images tell without a picture being read: their classes, and what is wrong with them."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from der.data.sources.archives import Contents, check_room, survey, tells_members
from der.data.sources.tree import (
    Entry,
    Splits,
    build_tree,
    check_archive,
    check_splits,
    list_folder,
    scan,
    unwrap,
)
from der.settings.sections import DatasetSettings


def check_folder(settings: DatasetSettings, scratch: Path) -> None:
    """Raise UserError for a directory that is no tree of classes, and a file that is no archive to unpack."""
    path = Path(settings.path)
    if not path.exists():
        return
    if not path.is_dir():
        check_archive(path)
        if tells_members(path):
            _list_archive(path)
            check_room(path, _contents(path).size, scratch)
        return
    _sort(scan(path), str(path))


def list_classes(settings: DatasetSettings) -> list[str]:
    """The classes in a directory or an archive, in alphabetical order; none in a compressed .tar or nowhere.

    Raises UserError for an archive that cannot be unpacked, or holds no classes.
    """
    path = Path(settings.path)
    if not path.is_file():
        return list_folder(path)
    check_archive(path)
    return sorted(_list_archive(path)["train"]) if tells_members(path) else []


def _list_archive(path: Path) -> Splits:
    wrapper, entries = unwrap(_contents(path).entries)
    return _sort(entries, "/".join((str(path), *wrapper)))


def _contents(path: Path) -> Contents:
    status = path.stat()
    return _survey(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)  # seconds for 100,000 members, and asked for several times
def _survey(path: Path, _size: int, _moment: int) -> Contents:
    return survey(path)


def _sort(entries: Iterable[Entry], where: str) -> Splits:
    splits, _ = build_tree(entries, where)
    check_splits(splits, where)
    return splits
