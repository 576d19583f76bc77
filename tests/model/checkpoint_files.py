"""What can happen to the files of a checkpoint directory."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from der.core.sealed import seal

FIRST = [3]
SECOND = [3, 2]

WEIGHTS = ["extractor_1", "extractor_2", "head"]  # of the second one


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


class Trap:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


def truncate(path: Path) -> None:
    whole = path.read_bytes()
    path.unlink()  # not in place: the file may be linked
    path.write_bytes(whole[: len(whole) // 2])


def put_pickle(path: Path) -> None:
    path.unlink()
    path.write_bytes(pickle.dumps(Trap()))


def put_torch_save(path: Path) -> None:
    path.unlink()
    torch.save({"weight": torch.zeros(1)}, path)


def put_nothing(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")


DAMAGES = [Path.unlink, truncate, put_pickle, put_torch_save, put_nothing]


def invert_a_byte(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-100] ^= 0xFF  # of a weight
    path.unlink()
    path.write_bytes(whole)


def edit(saved: Path, **changes: Any) -> None:
    """Change network.json, with a manifest that says so."""
    content = json.loads((saved / "network.json").read_text())
    (saved / "network.json").write_text(json.dumps(content | changes))
    seal(saved, {})
