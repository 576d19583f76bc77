"""What anyone's images tell without a picture being read: their classes, and what is wrong with them."""

from collections.abc import Iterable
from pathlib import Path

from der.data.sources.archives import check_listing, has_listing, list_entries
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
from der.settings.dataset import DatasetSettings


def check_folder(settings: DatasetSettings, scratch: Path) -> None:
    """Raise UserError for a directory that is no tree of classes, and a file that is no archive to unpack."""
    path = Path(settings.path)
    if not path.exists():
        return
    if not path.is_dir():
        check_archive(path)
        if has_listing(path):
            check_listing(path, scratch)
            _list_archive(path)
        return
    _sort(scan(path), str(path))


def list_classes(settings: DatasetSettings) -> list[str]:
    """The classes in a directory or a .zip, in alphabetical order; none in a .tar or nowhere.

    Raises UserError for a .zip that cannot be unpacked, or holds no classes.
    """
    path = Path(settings.path)
    if path.is_file() and has_listing(path):
        return sorted(_list_archive(path)["train"])
    return list_folder(path)


def _list_archive(path: Path) -> Splits:
    wrapper, entries = unwrap(list_entries(path))
    return _sort(entries, "/".join((str(path), *wrapper)))


def _sort(entries: Iterable[Entry], where: str) -> Splits:
    splits, _ = build_tree(entries, where)
    check_splits(splits, where)
    return splits
