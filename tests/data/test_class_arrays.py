"""Directories of one image array per class."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from der.core.errors import DamageError, UserError
from der.core.sealed import seal
from der.core.serialization import write_array, write_json
from der.data import image_rows
from der.data.class_arrays import class_file, list_classes, read_classes, write_images
from der.data.image_rows import ImageRows, every_row
from tests.builders import random_images
from tests.locations import ROOT

NAMES = ["7", "b.c", "grüne Äpfel", "zebra.npy"]


def put(directory: Path, **classes: np.ndarray) -> None:
    for name, array in classes.items():
        write_array(directory / class_file(name), array)
    seal(directory, {})


def test_names_with_dots_spaces_and_letters_come_back(tmp_path: Path) -> None:
    write_json(tmp_path / "classes.json", [])
    put(tmp_path, **{name: random_images(seed, seed + 1) for seed, name in enumerate(NAMES)})
    assert list_classes(tmp_path) == NAMES
    arrays = read_classes(tmp_path, NAMES[::-1])
    for seed, array in zip(reversed(range(4)), arrays, strict=True):
        np.testing.assert_array_equal(array, random_images(seed, seed + 1))
        assert isinstance(array, np.memmap)


@pytest.mark.parametrize("order", ["C", "F"])
def test_images_are_written_in_parts_as_a_whole(
    order: Literal["C", "F"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_rows, "CHUNK", 2 * 8 * 8 * 3)
    read, sizes = ImageRows.read, list[int]()
    monkeypatch.setattr(ImageRows, "read", lambda *given: sizes.append(len(given[1])) or read(*given))
    images = random_images(0, 5)
    write_array(tmp_path / "whole.npy", images)
    write_images(tmp_path / "parts.npy", every_row([np.asarray(images, order=order)]))
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert sizes == [2, 2, 1]


MANY = """
import resource, sys
from pathlib import Path
from der.data.class_arrays import list_classes, read_classes
directory, (_, hard) = Path(sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
print(sum(int(one[0, 0, 0, 0]) for one in read_classes(directory, list_classes(directory))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_more_classes_than_a_process_may_usually_have_files_open(tmp_path: Path) -> None:
    put(tmp_path, **{f"{label:03}": np.full((1, 1, 1, 1), 1, np.uint8) for label in range(100)})
    done = subprocess.run(
        [sys.executable, "-c", MANY, tmp_path], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "100\n"


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8), np.uint8), np.zeros((0, 8, 8, 3), np.uint8), np.uint8(3)],
    ids=["not bytes", "no channels", "no images", "a number"],
)
def test_a_file_of_something_else_is_named(array: np.ndarray, tmp_path: Path) -> None:
    put(tmp_path, cat=array)
    message = f"cat.npy: not images, but {array.dtype} of shape {array.shape}; make it again"
    with pytest.raises(UserError, match=f"{re.escape(message)}$"):
        read_classes(tmp_path, ["cat"])


@pytest.mark.parametrize("pixels", [{"side": 9}, {"channels": 1}])
def test_other_pixels_than_the_first_class_s_are_named(pixels: dict[str, int], tmp_path: Path) -> None:
    put(tmp_path, ant=random_images(0, 2), bee=random_images(1, 2, **pixels))
    message = r"bee\.npy: images of shape \(.+\), but ant has \(8, 8, 3\); make it again$"
    with pytest.raises(UserError, match=message):
        read_classes(tmp_path, ["ant", "bee"])


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    put(tmp_path, cat=random_images(0, 2))
    with pytest.raises(DamageError, match=r"dog\.npy: cannot be read"):
        read_classes(tmp_path, ["dog"])


def test_pixels_that_were_changed_on_the_disk_are_no_images(tmp_path: Path) -> None:
    put(tmp_path, cat=random_images(0, 2), dog=random_images(1, 2))
    write_array(tmp_path / class_file("dog"), random_images(2, 2))
    assert len(read_classes(tmp_path, ["cat"])) == 1
    with pytest.raises(DamageError, match=r"dog\.npy: damaged, its bytes are not those that were written$"):
        read_classes(tmp_path, ["cat", "dog"])
