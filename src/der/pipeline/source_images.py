"""Which files of a folder stage download read: kept for `der plan`, beside the training state.

No result depends on it: a name, a size and a moment per file tell whether a class has changed since.
"""

import hashlib
from pathlib import Path

import msgspec

from der.core.errors import UserError
from der.data.sources.tree import Entry, build_tree, scan
from der.pipeline.environment import scratch_root
from der.pipeline.outputs import digest_outputs
from der.pipeline.timing import append, read_lines
from der.settings.sections import DatasetSettings

FILE = "images.jsonl"  # in the scratch directory: a line for every download
STAGE = "download"

Classes = dict[str, str]  # a class -> what tells its files, training and test, from others


class Line(msgspec.Struct, frozen=True):
    """One download that ran to its end."""

    left: str  # digest of its outputs
    classes: Classes


def list_files_of_classes(settings: DatasetSettings) -> Classes | None:
    """What there is now; None where no folder of files tells."""
    root = Path(settings.path)
    if settings.source != "folder" or not root.is_dir():
        return None
    try:
        splits, _ = build_tree(scan(root), str(root))
        found: dict[str, list[Entry]] = {}
        for classes in splits.values():
            for name, entries in classes.items():
                found.setdefault(name, []).extend(entries)
        return {name: _digest(entries) for name, entries in found.items()}
    except (UserError, OSError):
        return None


def _digest(entries: list[Entry]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        assert entry.file is not None
        status = entry.file.stat()
        told = (*entry.parts, status.st_size, status.st_mtime_ns)
        digest.update(repr(told).encode(errors="surrogateescape"))
    return digest.hexdigest()


def keep_files_of_classes(classes: Classes | None) -> None:
    """Keep what the download that has just left its outputs read; lost where it cannot be written."""
    if classes is not None:
        try:
            append(scratch_root() / FILE, Line(digest_outputs(STAGE), classes))
        except (OSError, UserError):
            return


def find_changed_classes(settings: DatasetSettings) -> set[str] | None:
    """The classes with other files than the images that lie here were made from; None if nothing tells."""
    now, then = list_files_of_classes(settings), _read()
    if now is None or then is None:
        return None
    return {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}


def _read() -> Classes | None:
    left = digest_outputs(STAGE)
    found = [line.classes for line in read_lines(scratch_root() / FILE, Line) if line.left == left]
    return found[-1] if found else None
