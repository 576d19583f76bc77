"""Files of weights that are cut short or have other bits: weights of the right names, or one sentence."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from der.core.errors import UserError
from der.model.start_files import UNREAD, read_tensors

TENSORS = {"first.weight": torch.arange(12.0).view(3, 4), "first.bias": torch.ones(3)}
SAVE = {
    "legacy.pth": lambda path: torch.save(TENSORS, path, _use_new_zipfile_serialization=False),
    "zip.pth": lambda path: torch.save(TENSORS, path),
    "a.safetensors": lambda path: save_file(TENSORS, path),
}


def cuts(content: bytes) -> Iterator[bytes]:
    step = max(1, len(content) // 80)
    yield from (content[:length] for length in range(0, len(content), step))


def flips(content: bytes) -> Iterator[bytes]:
    random = np.random.RandomState(0)
    for _ in range(120):
        place, bit = random.randint(len(content)), random.randint(8)
        yield content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


@pytest.mark.parametrize("name", SAVE)
@pytest.mark.parametrize("damage", [cuts, flips])
def test_damaged_files(name: str, damage: Callable[[bytes], Iterator[bytes]], tmp_path: Path) -> None:
    path = tmp_path / name
    SAVE[name](path)
    said = []
    for content in damage(path.read_bytes()):
        path.write_bytes(content)
        try:
            found = read_tensors(path, "network.weights")
        except UserError as error:
            said.append(str(error))
        else:
            assert all(isinstance(key, str) and isinstance(one, torch.Tensor) for key, one in found.items())
    assert said and all(one.startswith("network.weights: ") and "\n" not in one for one in said)


@pytest.mark.parametrize("content", [b"X", b"X\0", b"\x80", b"PK\x03\x04"])
def test_files_of_some_bytes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"^network\.weights: cannot be read as weights \(.*\); give another"):
        read_tensors(tmp_path / "a.pth", "network.weights")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    torch.save({0: torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"^network\.weights: holds no tensors by name; save"):
        read_tensors(tmp_path / "a.pth", "network.weights")


def test_a_file_of_nothing_and_a_program_have_a_reason_without_advice_to_run_it(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    torch.save(TENSORS, tmp_path / "program.pt")
    with zipfile.ZipFile(tmp_path / "program.pt", "a") as archive:
        archive.writestr("program/constants.pkl", b"")  # by which torch tells a TorchScript archive
    for name in ("empty.pth", "program.pt"):
        with pytest.raises(UserError) as caught:
            read_tensors(tmp_path / name, "network.weights")
        assert (
            str(caught.value) == f"network.weights: cannot be read as weights ({UNREAD}); give another file"
        )
