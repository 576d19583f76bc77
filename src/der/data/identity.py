"""Which images a directory of class arrays holds, whatever they came from.

N images, S side in pixels, C channels
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.data.arrays import list_classes, read_classes
from der.data.splits import SPLITS


@dataclass(frozen=True)
class Identity:
    """What a data set's images are known by."""

    sha256: str  # of the classes' names and the multiset of images of each, in hexadecimal
    classes: int
    train: int  # images
    test: int  # images


def identify(directory: Path) -> Identity:
    """The identity of the images in ``directory/{train,test}/<class>.npy``, uint8 (N, S, S, C).

    A property of the class names and the pixels: the names of the files that the images came from, their
    order within a class and their format leave it as it is; one pixel, one image more or less, or another
    class name changes it. Raises UserError naming a file that is missing, damaged or not of images.
    """
    parts = [_read_split(directory / split) for split in SPLITS]
    form, *others = {images.shape[1:] for part in parts for images in part.values()}
    if others:
        raise UserError(f"{directory}: training and test images differ in shape; make the directory anew")
    content = [form, *({name: digest_images(part[name]) for name in part} for part in parts)]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    counts = [sum(map(len, part.values())) for part in parts]
    return Identity(hashlib.sha256(text.encode()).hexdigest(), len(parts[0]), *counts)


def digest_images(images: NDArray[np.uint8]) -> str:
    """SHA-256 of the sorted SHA-256 of the pixels of each image, (N, S, S, C): of their multiset."""
    digests = sorted(hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in images)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _read_split(directory: Path) -> dict[str, NDArray[np.uint8]]:
    """Memory maps of the images of every class, by name."""
    names = list_classes(directory)
    if not names:
        raise UserError(f"{directory}: holds no classes; make the directory anew")
    return dict(zip(names, read_classes(directory, names), strict=True))
