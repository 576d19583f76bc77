"""The confusion matrix as a file."""

import csv
from pathlib import Path

import numpy as np
import pytest

from der.core.errors import UserError
from der.core.sealed import seal, sealed_directory
from der.evaluation.confusion import read_confusion, write_confusion

NAMES = [
    "plain",
    "with, comma",
    'say "hi"',
    "größer 猫",
    "true",
    "NA",
    "007",
    " spaced ",
    "1e5",
    "nan",
    "=1+1",
    "'quoted",
    "@a",
]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_any_class_name_survives_the_confusion_file(tmp_path: Path, rng: np.random.Generator) -> None:
    counts = rng.integers(0, 50, size=(len(NAMES), len(NAMES)))
    with sealed_directory(tmp_path / "1") as directory:
        write_confusion(directory, counts, NAMES)
    read, names = read_confusion(tmp_path / "1")
    assert names == NAMES
    np.testing.assert_array_equal(read, counts)
    text = (tmp_path / "1/confusion.csv").read_bytes()
    assert text.startswith(b"true,plain,")
    assert b"\r" not in text
    cells = [cell for row in csv.reader(text.decode().splitlines()) for cell in row]
    assert "'=1+1" in cells and not [cell for cell in cells if cell.startswith(("=", "@"))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a confusion matrix"),
        ("true,a,b\na,1,x\nb,0,1\n", "cannot be read as a confusion matrix"),
        ("true,a,b\na,1,2,3,4\n", "cannot be read as a confusion matrix"),
        ("true\n", "rows and columns name different classes"),
        ("true,a,b\n", "rows and columns name different classes"),
        ("true,a,b\na,1,0\n", "rows and columns name different classes"),
        ("true,a,b\nb,1,0\na,0,1\n", "rows and columns name different classes"),
    ],
)
def test_damaged_confusion_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "confusion.csv").write_text(text)
    seal(tmp_path, {})
    with pytest.raises(UserError, match=rf"confusion\.csv: {message}") as caught:
        read_confusion(tmp_path)
    assert "\n" not in str(caught.value)
