"""Files of weights from anywhere, read without running anything."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from der.core.errors import UserError
from der.core.files import regular
from der.model.start_heads import is_safetensors

UNREAD = "not tensors alone, or not of torch.save; a file of safetensors ends in .safetensors"
# Where training programs put the weights beside other things: averaged ones first, as timm takes them.
INSIDE = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")


def read_tensors(path: Path, where: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of one of torch.save, by name and in the file's order.

    Raises UserError, ``where`` first, if it cannot be read without running code, or holds anything else.
    """
    found = _read(path, where)
    for key in INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(map(_is_named_tensor, found.items())):
        raise UserError(f"{where}: holds no tensors by name; save the module's state_dict() alone")
    for name, value in found.items():
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
            raise UserError(
                f"{where}: {name} holds no weights, but sparse, quantised, complex or no numbers; give "
                "another file"
            )
    return dict(found)


def _read(path: Path, where: str) -> Any:
    try:
        regular(path)
        if is_safetensors(path):
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # of pickles of another protocol, refused all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever reading a damaged file comes to: struct.error, KeyError, ...
        raise UserError(f"{where}: cannot be read as weights ({_reason(error)}); give another file") from None


def _reason(error: Exception) -> str:
    said = str(error).partition("\n")[0]
    # Of pickles and programs torch's words are advice to run them all the same.
    is_advice = isinstance(error, pickle.UnpicklingError) or "weights_only" in said
    return UNREAD if is_advice or not said else said


def _is_named_tensor(item: tuple[object, object]) -> bool:
    name, value = item
    return isinstance(name, str) and isinstance(value, Tensor)
