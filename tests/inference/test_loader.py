"""Pictures found and read in chunks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from der.core.errors import UserError
from der.inference.predictor import list_pictures, read_chunks
from tests.builders import random_images


def save_pictures(directory: Path, count: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(random_images(0, count)):
        Image.fromarray(image).save(directory / f"{number}.png")


def test_files_are_found_at_any_depth_in_order_without_debris(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a.png", ".hidden.png", "b/.git/x.png", "b/Thumbs.db", "c/ü d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list_pictures([tmp_path / "b" / "2.png", tmp_path])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["b/2.png", "a.png", "b/10.png", "b/2.png", "c/ü d.png"]


def test_what_is_no_picture_by_its_name_is_passed_over_in_directories_alone(tmp_path: Path) -> None:
    for name in ("a.txt", "b.JSON", "c/d.csv", "e", "f.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_pictures([tmp_path / "a.txt", tmp_path])
    assert [path.name for path in found] == ["a.txt", "e", "f.png"]
    with pytest.raises(UserError, match=r"c: there is no picture in this directory$"):
        list_pictures([tmp_path / "c"])


def test_chunks_hold_every_file_once(tmp_path: Path) -> None:
    save_pictures(tmp_path, 7)
    files = list_pictures([tmp_path])
    chunks = list(read_chunks(files, 8, 3, 3))
    assert [len(chunk.files) for chunk in chunks] == [3, 3, 1]
    assert [file for chunk in chunks for file in chunk.files] == files
    np.testing.assert_array_equal(np.concatenate([chunk.images for chunk in chunks]), random_images(0, 7))
