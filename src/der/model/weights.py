"""Files of weights: one safetensors file for each module, known by its SHA-256."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from der.common.errors import UserError
from der.common.filesystem import regular


def save_weights(module: nn.Module, path: Path) -> str:
    """Write parameters and buffers of ``module``; returns the SHA-256 of the file.

    Raises UserError for weights that are not finite.
    """
    tensors: dict[str, Any] = {
        name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()
    }
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise UserError(f"{path.name}: {name} is not finite after training; lower learning_rate")
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be written ({error})") from None
    return digest_of(path)


@torch.no_grad()
def load_weights(module: nn.Module, path: Path, digest: str, recorded_in: str) -> None:
    """Fill ``module`` with the weights that ``path`` holds.

    Raises UserError naming the file if it is missing or damaged, if it is not the one whose SHA-256 is
    ``digest``, which the file ``recorded_in`` records, or if it is of another module.
    """
    try:
        if digest_of(path) != digest:
            raise UserError(
                f"{path}: not the file that {recorded_in} records; copy it again, or train it again"
            )
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as weights ({error})") from None
    # Not load_state_dict: it wants a batch counter that our batch normalisations do not keep.
    expected = module.state_dict()
    forms = [{name: (value.shape, value.dtype) for name, value in one.items()} for one in (found, expected)]
    if forms[0] != forms[1]:
        raise UserError(f"{path}: not the weights of the network that {recorded_in} describes")
    for name, value in expected.items():
        value.copy_(found[name])


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with regular(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
