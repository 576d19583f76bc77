"""Sources of images, by name: what dataset.source chooses from.

To add one, write a function like ``digits`` and name it in SOURCES. Names are known without what a source
imports when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

from der.settings.dataset import DatasetSettings

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


# Yields the classes one at a time, in alphabetical order, each with training and test images, as
# der.data.sources.class_images describes them; raises UserError for whatever is wrong. ``scratch`` is a
# directory that it may make for files of its own, and then removes.
Source = Callable[[DatasetSettings, Path], Generator["ClassImages", None, None]]

SOURCES: dict[str, Source] = {"digits": digits, "cifar10": cifar10, "cifar100": cifar100, "folder": folder}

CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100}  # how many; of other sources, only the images tell
