"""The images of a run, as files that every contender reads.

# n images of a class, H and W pixels, C channels
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.pycil.contenders import Job
from bench.pycil.plans import Plan

CLASS_ORDER = 1993  # PyCIL's seed
Split = Literal["train", "test"]


@contextmanager
def prepare_job(archive: Path, plan: Plan, seed: int, device: str) -> Iterator[Job]:
    """A job whose images are there until the block ends."""
    with TemporaryDirectory() as root:
        write_images(archive, plan, seed, Path(root))
        yield Job(plan, Path(root), seed, device)


def write_images(archive: Path, plan: Plan, seed: int, directory: Path) -> None:
    """Write <split>-<label>.npy, uint8 (n, H, W, C), for the plan's classes in the order they are taught.

    ``archive`` is an .npz with train_x, train_y, test_x and test_y. The training images of a class are drawn
    with ``seed``, where the plan takes not all of them; of the test images the first are taken.
    """
    order = np.random.RandomState(seed if plan.order == "seed" else CLASS_ORDER)
    draw = np.random.RandomState([seed, CLASS_ORDER])
    with np.load(archive) as arrays:
        for split, count in (("train", plan.train_images), ("test", plan.test_images)):
            images, labels = arrays[f"{split}_x"], arrays[f"{split}_y"]
            if split == "train":
                classes = order.permutation(len(np.unique(labels)))[: sum(plan.new_classes)]
            for label, name in enumerate(classes):
                indices = np.flatnonzero(labels == name)
                if split == "train" and count < len(indices):
                    indices = np.sort(draw.permutation(indices)[:count])
                np.save(directory / f"{split}-{label}.npy", shrink(images[indices[:count]], plan.side))


def shrink(images_nHWC: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Images with ``side`` pixels on a side, each the mean of a square of pixels."""
    count, height, width, channels = images_nHWC.shape
    assert height == width and height % side == 0
    if side == height:
        return images_nHWC
    squares = images_nHWC.reshape(count, side, height // side, side, width // side, channels)
    smaller: NDArray[np.uint8] = squares.mean((2, 4)).round().astype(np.uint8)
    return smaller


def read_images(directory: Path, split: Split, label: int) -> NDArray[np.uint8]:
    """A memory map of what ``write_images`` wrote for a class."""
    mapped: NDArray[np.uint8] = np.load(directory / f"{split}-{label}.npy", mmap_mode="r")
    return mapped
