"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), through torchvision, which verifies their checksums."""

from collections.abc import Generator
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import numpy as np

from der.core.errors import UserError
from der.core.files import expand_home
from der.data.sources.class_images import ClassImages
from der.data.sources.decoding import resize_all
from der.settings.sections import DatasetSettings


def cifar10(settings: DatasetSettings) -> Generator[ClassImages, None, None]:
    """Yield CIFAR-10's ten classes by name, in alphabetical order; errors as ``_load``."""
    return _classes("CIFAR10", settings)


def cifar100(settings: DatasetSettings) -> Generator[ClassImages, None, None]:
    """Yield CIFAR-100's hundred fine classes by name, in alphabetical order; errors as ``_load``."""
    return _classes("CIFAR100", settings)


def _classes(
    kind: Literal["CIFAR10", "CIFAR100"], settings: DatasetSettings
) -> Generator[ClassImages, None, None]:
    # Here, because it takes seconds that the other sources need not spend.
    from torchvision import datasets  # type: ignore[import-untyped]

    directory = expand_home(settings.downloads)
    train, test = (_load(getattr(datasets, kind), directory, is_train) for is_train in (True, False))
    for label, name in sorted(enumerate(train.classes), key=lambda pair: pair[1]):
        train_images, test_images = (
            resize_all(split.data[np.array(split.targets) == label], settings.side, settings.channels)
            for split in (train, test)
        )
        yield ClassImages(name, train_images, test_images)


def _load(dataset: Any, directory: Path, is_train: bool) -> Any:
    """A torchvision data set from ``directory``, downloaded into it unless it is there whole.

    torchvision compares the MD5 of the archive and of what it held on every use, so half a download is
    fetched again. Raises UserError, which says what to put where, if that fails.
    """
    try:
        return dataset(directory, train=is_train, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise UserError(
            f"{directory / dataset.filename}: could not be downloaded and verified ({error}); put the file "
            f"from {dataset.url} there yourself (MD5 {dataset.tgz_md5}), and delete the directory "
            f"{directory / dataset.base_folder} if it exists"
        ) from None
