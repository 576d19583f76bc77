"""CIFAR-100's pictures from a tree of files, enlarged."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from der.data.sources.pictures import to_pixels

CLASSES, STEP = 20, 5
ORDER = 1993  # seed of the order of classes


class Task(NamedTuple):
    """The images of one step's classes, and labels."""

    train: NDArray[np.uint8]  # (N, side, side, 3)
    train_labels: list[str]
    test: NDArray[np.uint8]  # of the same classes
    test_labels: list[str]


def choose_classes(root: Path) -> list[str]:
    """The names of the classes, in the order in which they are taught."""
    names = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    return [names[index] for index in np.random.RandomState(ORDER).permutation(len(names))[:CLASSES]]


def read_tasks(root: Path, images: int, side: int, seed: int, tests: int | None = None) -> list[Task]:
    """The steps' tasks, with ``images`` training images of a class, drawn by ``seed``.

    ``tests`` bounds the test images of a class; None: all there are.
    """
    names = choose_classes(root)
    return [
        _read_task(root, names[at : at + STEP], images, side, seed, tests) for at in range(0, CLASSES, STEP)
    ]


def _read_task(root: Path, names: list[str], images: int, side: int, seed: int, tests: int | None) -> Task:
    train, test, train_labels, test_labels = [], [], [], []
    for name in names:
        files = sorted((root / "train" / name).iterdir())
        order = np.random.RandomState([seed, *name.encode()]).permutation(len(files))
        train += [_read(files[index], side) for index in order[:images]]
        train_labels += [name] * images
        found = sorted((root / "test" / name).iterdir())[:tests]
        test += [_read(file, side) for file in found]
        test_labels += [name] * len(found)
    return Task(np.stack(train), train_labels, np.stack(test), test_labels)


def _read(file: Path, side: int) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        return to_pixels(image, side, 3)
