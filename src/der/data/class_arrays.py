"""A directory of images: one uint8 array (n, H, W, C) per class, in <class>.npy."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.common.errors import UserError
from der.common.serialization import read_array

SUFFIX = ".npy"


def class_path(directory: Path, name: str) -> Path:
    """Where the images of class ``name`` lie; the name may hold dots."""
    return directory / f"{name}{SUFFIX}"


def list_classes(directory: Path) -> list[str]:
    """Names of the classes in ``directory``, in alphabetical order."""
    return sorted(path.name.removesuffix(SUFFIX) for path in directory.glob(f"*{SUFFIX}"))


def read_classes(directory: Path, names: list[str]) -> list[NDArray[np.uint8]]:
    """Memory maps of the named classes' images, in the order of ``names``.

    Raises UserError naming a file that is missing, damaged, not of images, without any, or of other pixels
    than the first.
    """
    arrays: list[NDArray[np.uint8]] = []
    for name in names:
        path = class_path(directory, name)
        array = read_array(path, mapped=True)
        if array.dtype != np.uint8 or array.ndim != 4 or not array.size:
            raise UserError(f"{path}: not images, but {array.dtype} of shape {array.shape}; make it again")
        if arrays and array.shape[1:] != arrays[0].shape[1:]:
            raise UserError(
                f"{path}: images of shape {array.shape[1:]}, but {names[0]} has {arrays[0].shape[1:]}; "
                "make it again"
            )
        arrays.append(array)
    return arrays
