"""Fill a directory with a data set's images: one .npy file per class in a sealed directory per split."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from der.core.errors import UserError
from der.core.sealed import seal
from der.data.arrays import class_file, every_row, write_images
from der.data.sources.class_images import Images
from der.data.sources.reading import read_source
from der.data.splits import SPLITS
from der.settings.sections import DatasetSettings

SCRATCH = "unpacked"  # below the destination


@dataclass(frozen=True)
class Counts:
    """What was written."""

    classes: int
    train: int  # images
    test: int  # images
    passed_over: int = 0  # files that are no pictures by their names


def download(settings: DatasetSettings, destination: Path) -> Counts:
    """Write ``destination/{train,test}/<class>.npy``, uint8 (n, image_side, image_side, channels), n >= 1.

    One class is in memory at a time, or some megabytes where it is mapped: a source's files are moved, or
    copied in parts. An archive is unpacked in ``destination``, too, until all is written.
    Raises UserError as ``read_source`` does. What was written by then stays, and everything where the process
    is killed, so the caller makes the directory whole or absent.
    """
    classes, train, test, passed_over = 0, 0, 0, 0
    with closing(read_source(settings, destination / SCRATCH)) as found:
        for one in found:
            for split, images in (("train", one.train), ("test", one.test)):
                file = destination / split / class_file(one.name)
                if file.exists():  # Cat and cat, on a file system that takes them for the same
                    raise UserError(f"{file}: two classes' names differ in case only; rename one")
                _put(images, file, destination / SCRATCH)
            classes, train, test = classes + 1, train + len(one.train), test + len(one.test)
            passed_over += one.passed_over
    for split in SPLITS:
        seal(destination / split, {})
    return Counts(classes, train, test, passed_over)


def _put(images: Images, file: Path, scratch: Path) -> None:
    """Write ``images``; a .npy file below ``scratch`` that holds them, and nothing else, becomes ``file``."""
    if isinstance(images, np.memmap):
        whole = Path(str(images.filename))
        if scratch in whole.parents and whole.stat().st_size == images.offset + images.nbytes:
            file.parent.mkdir(parents=True, exist_ok=True)
            whole.replace(file)
            return
    write_images(file, every_row([images]))
