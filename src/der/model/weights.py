"""Files of weights: one safetensors file for each module."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from der.core.errors import UserError


def save_weights(module: nn.Module, path: Path) -> None:
    """Write parameters and buffers of ``module``; raises UserError for weights that are not finite."""
    tensors = tensors_of(module)
    if name := find_infinite(tensors):
        raise UserError(f"{path.name}: {name} is not finite after training; lower learning_rate")
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be written ({error})") from None


def tensors_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers of ``module`` by name, as files hold them.

    Those that layers share have a tensor for each, for safetensors takes no memory twice.
    """
    tensors: dict[str, torch.Tensor] = {}
    places = set()
    for name, value in module.state_dict().items():
        tensor = value.detach().cpu().contiguous()
        tensors[name] = tensor.clone() if tensor.data_ptr() in places else tensor
        places.add(tensor.data_ptr())
    return tensors


@torch.no_grad()
def load_weights(module: nn.Module, path: Path, described_in: str) -> None:
    """Fill ``module``, of the network that the file ``described_in`` describes, with weights.

    Raises UserError naming the file if it holds none, those of another module, one that is not finite, or a
    variance below 0.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as weights ({error})") from None
    # Not load_state_dict: it wants a batch counter that our batch normalisations do not keep.
    expected = module.state_dict()
    forms = [{name: (value.shape, value.dtype) for name, value in one.items()} for one in (found, expected)]
    if forms[0] != forms[1]:
        raise UserError(
            f"{path}: not the weights of the network that {described_in} describes; train it again"
        )
    if name := find_infinite(found):
        raise UserError(f"{path}: {name} is not finite; train it again")
    if name := find_negative(found):
        raise UserError(f"{path}: {name}, a variance, is below 0; train it again")
    for name, value in expected.items():
        value.copy_(found[name])


def find_infinite(tensors: dict[str, Any]) -> str | None:
    """The name of a tensor that holds NaN or infinity."""
    return next((name for name, value in tensors.items() if not value.isfinite().all()), None)


def find_negative(tensors: dict[str, Any]) -> str | None:
    """The name of a variance of batch normalisation that holds a number below 0."""
    variances = {name: value for name, value in tensors.items() if name.endswith("running_var")}
    return next((name for name, value in variances.items() if (value < 0).any()), None)
