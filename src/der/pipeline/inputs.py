"""Tells whether a run's images are a preset's, and which classes changed since stage download."""

import hashlib
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
FILE = "images.jsonl"  # in the scratch directory: a line for every download
STAGE = "download"

Classes = dict[str, str]  # a class -> digest of its files' names, sizes and times, training and test


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
    root = Path(settings.path)
    if settings.source != FOLDER or not root.is_dir():
        return None
    found: dict[str, Any] = {}
    try:
        for classes in build_tree(scan(root), str(root))[0].values():
            for name, entries in classes.items():
                digest = found.setdefault(name, hashlib.sha256())
                for parts, file in entries:
                    assert file is not None
                    status = file.stat()
                    told = (*parts, status.st_size, status.st_mtime_ns)
                    digest.update(repr(told).encode(errors="surrogateescape"))
    except (errors.UserError, OSError):
        return None
    return {name: digest.hexdigest() for name, digest in found.items()}


def keep_files_of_classes(classes: Classes | None) -> None:
    """Store which files the last download read; do nothing if that cannot be written."""
    if classes is not None:
        with suppress(OSError, errors.UserError):
            timing.append(environment.scratch_root() / FILE, Line(project.digest_outputs(STAGE), classes))


def find_changed_classes(settings: DatasetSettings) -> set[str] | None:
    """Find the classes whose files changed since data/raw was made; None if that is unknown."""
    now, left = list_files_of_classes(settings), project.digest_outputs(STAGE)
    lines = timing.read_lines(environment.scratch_root() / FILE, Line)
    found = [line.classes for line in lines if line.left == left]
    if now is None or not found:
        return None
    then = found[-1]
    return {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}
