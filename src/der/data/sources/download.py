"""Fill a directory with a data set's images, one .npy file per split and class."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from der.common.errors import UserError
from der.common.serialization import write_array
from der.data.sources.cifar import cifar10, cifar100
from der.data.sources.class_images import ClassImages
from der.data.sources.digits import digits
from der.data.sources.folder import folder
from der.settings.dataset import DatasetSettings

SOURCES: dict[str, Callable[[DatasetSettings], Generator[ClassImages, None, None]]] = {
    "digits": digits,
    "cifar10": cifar10,
    "cifar100": cifar100,
}


@dataclass(frozen=True)
class Counts:
    """What was written."""

    classes: int
    train: int  # images
    test: int  # images


def download(settings: DatasetSettings, destination: Path) -> Counts:
    """Write ``destination/{train,test}/<class>.npy``, uint8 (n, image_side, image_side, channels), n >= 1.

    One class is in memory at a time; an archive is unpacked in ``destination``, too, until all is written.
    Raises UserError for whatever is wrong with the source. What was written by then stays, and everything
    where the process is killed, so the caller makes the directory whole or absent.
    """
    classes, train, test = 0, 0, 0
    with closing(_find(settings, destination / "unpacked")) as found:
        for one in found:
            for split, images in (("train", one.train), ("test", one.test)):
                shape = (len(images), settings.image_side, settings.image_side, settings.channels)
                assert len(images) and images.shape == shape and images.dtype == np.uint8, one.name
                file = destination / split / f"{one.name}.npy"
                if file.exists():  # Cat and cat, on a file system that takes them for the same
                    raise UserError(f"{file}: two classes' names differ in case only; rename one")
                write_array(file, images)
            classes, train, test = classes + 1, train + len(one.train), test + len(one.test)
    assert classes >= 2, settings.source
    return Counts(classes, train, test)


def _find(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    return folder(settings, scratch) if settings.source == "folder" else SOURCES[settings.source](settings)
