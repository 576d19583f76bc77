"""Tells whether a run's images are a preset's, and which classes changed since stage download."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from der.core import errors, files
from der.data import arrays, protocol
from der.data.sources.folder import build_tree, scan
from der.pipeline import environment, presets, project, timing
from der.settings.sections import SPLITS, DatasetSettings

IDENTITIES = presets.PRESETS / "identities.json"
FOLDER = "folder"  # the source of a user's own images
FILE = "files.jsonl"  # in the scratch directory: a line for every download
STAGE = "download"

File = tuple[Path, os.stat_result]
Classes = dict[str, str]  # a class -> number and digest of its files, training and test


def find_expected(preset: Any) -> dict[str, Any] | None:
    """Return what is known about a preset's images, None if nothing is.

    That is "sha256", see ``der.data.protocol.identify``, and "dataset", the parameters that decide on it.
    """
    known: list[dict[str, Any]] = files.read_json(IDENTITIES)
    return next((one for one in known if one["dataset"].items() <= preset["dataset"].items()), None)


@dataclass(frozen=True)
class RunImages:
    """The images in data/raw; only the requested facts are read."""

    source: str  # dataset.source

    @cached_property
    def classes(self) -> list[str]:
        return arrays.list_classes(project.RAW / SPLITS[0])

    @cached_property
    def _identity(self) -> str:
        return protocol.identify(project.RAW).sha256

    @cached_property
    def _form(self) -> tuple[int, int]:
        """Return side and channels, which exclude most presets without reading images."""
        (first,) = arrays.read_classes(project.RAW / SPLITS[0], self.classes[:1])
        _, side, _, channels = first.shape
        return side, channels

    def are_those_of(self, preset: Any) -> bool:
        """Tell whether they are a preset's images: by identity, else by source, or by a folder's classes."""
        dataset, order = preset["dataset"], preset["protocol"]["class_order"]
        if self._form != (dataset["image_side"], dataset["channels"]):
            return False
        expected = find_expected(preset)
        if expected is not None:
            return bool(self._identity == expected["sha256"])
        if dataset["source"] != FOLDER:
            return bool(self.source == dataset["source"])
        return isinstance(order, list) and sorted(map(str, order)) == self.classes


class Line(msgspec.Struct, frozen=True):
    """A finished download; only `der plan` reads it, and no result depends on it."""

    left: str  # digest of its outputs
    classes: Classes


def list_files_of_classes(settings: DatasetSettings) -> Classes | None:
    """Digest the files of each class in a folder of images; None for any other source."""
    found = _list_files(settings)
    return None if found is None else {name: _digest(files) for name, files in found.items()}


def _list_files(settings: DatasetSettings) -> dict[str, list[File]] | None:
    """List the files of each class in a folder of images, training and test; None for any other source."""
    root = Path(settings.path)
    if settings.source != FOLDER or not root.is_dir():
        return None
    found: dict[str, list[File]] = {}
    try:
        for classes in build_tree(scan(root), str(root))[0].values():
            for name, entries in classes.items():
                found.setdefault(name, []).extend((file, file.stat()) for _, file in entries if file)
    except (errors.UserError, OSError):
        return None
    return found


def _digest(several: Iterable[File]) -> str:
    """Count and digest files by their names, sizes and times."""
    told = [(*file.parts[-3:], state.st_size, state.st_mtime_ns) for file, state in several]
    return f"{len(told)} {files.digest(repr(told).encode(errors='surrogateescape'))}"


def find_new_photos(settings: DatasetSettings) -> dict[str, list[Path]]:
    """List the training photos that have come since data/raw was made, by class, where nothing else changed.

    They are the newest files of a class, if its others are still those that were read.
    """
    then, now = _read_files_of_classes() or {}, _list_files(settings) or {}
    found = {}
    for name in then.keys() & now.keys():
        by_age = sorted(now[name], key=lambda one: one[1].st_ctime_ns)
        new = {file for file, _ in by_age[int(then[name].partition(" ")[0]) :]}
        photos = sorted(file for file in new if file.parts[-3] == SPLITS[0])
        if photos and _digest(one for one in now[name] if one[0] not in new) == then[name]:
            found[name] = photos
    return found


def keep_files_of_classes(classes: Classes | None) -> None:
    """Store which files the last download read; do nothing if that cannot be written."""
    if classes is not None:
        with suppress(OSError, errors.UserError):
            timing.append(environment.scratch_root() / FILE, Line(project.digest_outputs(STAGE), classes))


def find_changed_classes(settings: DatasetSettings) -> set[str] | None:
    """Find the classes whose files changed since data/raw was made; None if that is unknown."""
    now, then = list_files_of_classes(settings), _read_files_of_classes()
    if now is None or then is None:
        return None
    return {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}


def _read_files_of_classes() -> Classes | None:
    """Read what ``keep_files_of_classes`` stored when data/raw was made; None if it did not."""
    left = project.digest_outputs(STAGE)
    lines = timing.read_lines(environment.scratch_root() / FILE, Line)
    found = [line.classes for line in lines if line.left == left]
    return found[-1] if found else None
