"""Directories of one image array per class."""

import re
from pathlib import Path

import numpy as np
import pytest

from der.common.atomic import PARTIAL
from der.common.errors import UserError
from der.common.serialization import write_array
from der.data.class_arrays import class_path, list_classes, read_classes
from tests.builders import random_images

NAMES = ["7", "b.c", "grüne Äpfel", "zebra.npy"]


def test_names_with_dots_spaces_and_letters_come_back(tmp_path: Path) -> None:
    for seed, name in enumerate(NAMES):
        write_array(class_path(tmp_path, name), random_images(seed, seed + 1))
    (tmp_path / f"other.npy{PARTIAL}").write_bytes(b"")
    assert list_classes(tmp_path) == NAMES
    arrays = read_classes(tmp_path, NAMES[::-1])
    for seed, array in zip(reversed(range(4)), arrays, strict=True):
        np.testing.assert_array_equal(array, random_images(seed, seed + 1))
        assert isinstance(array, np.memmap)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8), np.uint8), np.zeros((0, 8, 8, 3), np.uint8), np.uint8(3)],
    ids=["not bytes", "no channels", "no images", "a number"],
)
def test_a_file_of_something_else_is_named(array: np.ndarray, tmp_path: Path) -> None:
    write_array(class_path(tmp_path, "cat"), array)
    message = f"cat.npy: not images, but {array.dtype} of shape {array.shape}; make it again"
    with pytest.raises(UserError, match=f"{re.escape(message)}$"):
        read_classes(tmp_path, ["cat"])


@pytest.mark.parametrize("pixels", [{"side": 9}, {"channels": 1}])
def test_other_pixels_than_the_first_class_s_are_named(pixels: dict[str, int], tmp_path: Path) -> None:
    write_array(class_path(tmp_path, "ant"), random_images(0, 2))
    write_array(class_path(tmp_path, "bee"), random_images(1, 2, **pixels))
    message = r"bee\.npy: images of shape \(.+\), but ant has \(8, 8, 3\); make it again$"
    with pytest.raises(UserError, match=message):
        read_classes(tmp_path, ["ant", "bee"])


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dog\.npy: cannot be read"):
        read_classes(tmp_path, ["dog"])
