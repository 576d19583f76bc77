"""A sealed directory of images: one uint8 array (n, H, W, C) per class, in <class>.npy."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.files import atomic_file
from der.core.mapped import allow_maps
from der.core.sealed import SealedDirectory
from der.data.image_rows import ImageRows

SUFFIX = ".npy"


def class_file(name: str) -> str:
    """The file of the images of class ``name``, which may hold dots."""
    return f"{name}{SUFFIX}"


def write_images(path: Path, images: ImageRows) -> None:
    """Write a .npy file (N, H, W, C), of which some megabytes at a time are in memory if it is mapped."""
    shape = (len(images), *images.shape)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for part in images.parts():
            stream.write(part.data)


def list_classes(directory: Path) -> list[str]:
    """Names of the classes in ``directory``, in alphabetical order; raises DamageError if it is none."""
    files = SealedDirectory(directory).digests
    return sorted(name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX))


def read_classes(directory: Path, names: list[str]) -> list[NDArray[np.uint8]]:
    """Memory maps of the named classes' images, in the order of ``names``.

    Raises DamageError naming a file that is missing or damaged, and UserError naming one that is not of
    images, without any, or of other pixels than the first.
    """
    allow_maps(len(names))
    sealed = SealedDirectory(directory)
    arrays: list[NDArray[np.uint8]] = []
    for name in names:
        path = directory / class_file(name)
        array = sealed.read_array(class_file(name), mapped=True)
        if array.dtype != np.uint8 or array.ndim != 4 or not array.size:
            raise UserError(f"{path}: not images, but {array.dtype} of shape {array.shape}; make it again")
        if arrays and array.shape[1:] != arrays[0].shape[1:]:
            raise UserError(
                f"{path}: images of shape {array.shape[1:]}, but {names[0]} has {arrays[0].shape[1:]}; "
                "make it again"
            )
        arrays.append(array)
    return arrays
