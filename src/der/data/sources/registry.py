"""Sources of images, by name: what dataset.source chooses from.

To add one, write a function like ``digits`` and put it into SOURCES. Names are known without what a source
imports when it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from der.core.errors import UserError, naming
from der.core.files import existing, expand_home
from der.core.registry import look_up
from der.data.sources.folder_check import check_folder, list_classes
from der.data.sources.known_classes import CIFAR10, CIFAR100, DIGITS
from der.settings.sections import DatasetSettings

if TYPE_CHECKING:
    from der.data.sources.class_images import ClassImages


def digits(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """scikit-learn's handwritten digits."""
    from der.data.sources.digits import digits

    return digits(settings)


def cifar10(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """CIFAR-10, downloaded."""
    from der.data.sources.cifar import cifar10

    return cifar10(settings)


def cifar100(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """CIFAR-100, downloaded."""
    from der.data.sources.cifar import cifar100

    return cifar100(settings)


def folder(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """Anyone's images, in a directory or an archive."""
    from der.data.sources.folder import folder

    return folder(settings, scratch)


def check_downloads(settings: DatasetSettings, scratch: Path) -> None:
    """Raise UserError for a place of downloads that there cannot be."""
    with naming("dataset.downloads"):
        place = existing(expand_home(settings.downloads))
        if not place.is_dir() or not os.access(place, os.W_OK):
            raise UserError(f"{place}: no directory to write into; name another")


class Read(Protocol):
    """A source: a function that yields the classes of a data set, one at a time.

    Every class is a ``der.data.sources.class_images.ClassImages``: its name, which a file must be able to
    have, and two arrays, uint8 (n, settings.side, settings.side, settings.channels), n >= 1.
    There are at least two; names come in alphabetical order, that of ``sorted``, in Unicode NFC, none twice.
    A source without test images holds some out by ``class_images.hold_out``; pictures become arrays by
    ``der.data.sources.decoding``.

    ``settings`` are section dataset of the parameters; ``settings.path`` is the file or directory to read.
    ``scratch`` is a path where the source may make a directory for files of its own, which it removes in
    the end. The same settings and files must give the same arrays: draws come from ``settings.seed`` alone.
    Raises UserError, one sentence, for whatever is wrong with the files.
    """

    def __call__(self, settings: DatasetSettings, scratch: Path, /) -> Iterable[ClassImages]: ...


@dataclass(frozen=True)
class Source:
    """Where images come from, and what is known of them before they are read."""

    read: Read
    classes: tuple[str, ...] | None = None  # None: those that the user puts there, now and later
    list_found: Callable[[DatasetSettings], list[str]] = lambda settings: []  # those; [] if unknown
    # UserError if reading must fail, which would make files at the path.
    check: Callable[[DatasetSettings, Path], None] = lambda settings, scratch: None

    def list_names(self, settings: DatasetSettings) -> list[str]:
        """The names of all classes, in alphabetical order; none if they are unknown."""
        return self.list_found(settings) if self.classes is None else list(self.classes)


SOURCES: dict[str, Source] = {
    "digits": Source(digits, DIGITS),
    "cifar10": Source(cifar10, CIFAR10, check=check_downloads),
    "cifar100": Source(cifar100, CIFAR100, check=check_downloads),
    "folder": Source(folder, list_found=list_classes, check=check_folder),
}


def find_source(settings: DatasetSettings) -> Source:
    """The source that ``settings`` name; raises UserError if there is none.

    Of a function of the user's own no more is known than how to read.
    """
    found: Source | Read = look_up(SOURCES, settings.source, "dataset.source")
    return found if isinstance(found, Source) else Source(found)
