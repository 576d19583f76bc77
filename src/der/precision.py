"""In which numbers the extractors compute; weights, classifiers, losses and updates stay in float32."""

from typing import NamedTuple

import torch

from der.common.errors import UserError


class Precision(NamedTuple):
    """How a precision is brought about on a device."""

    images: torch.dtype  # of the network's input
    autocast: torch.autocast  # around extractors


def choose_precision(name: str, device: torch.device) -> Precision:
    """Precision ``name`` ("float32" or "bfloat16") on ``device``.

    On CUDA layers follow their input, which saves autocast's cast of every weight; elsewhere torch's
    autocast decides. Raises UserError for a card that has no bfloat16.
    """
    narrow = name == "bfloat16"
    on_cuda = device.type == "cuda"
    if narrow and on_cuda and torch.cuda.get_device_capability(device) < (8, 0):
        raise UserError("precision: this card has no bfloat16; write float32")
    return Precision(
        torch.bfloat16 if narrow and on_cuda else torch.float32,
        torch.autocast(device.type, torch.bfloat16, enabled=narrow and not on_cuda),
    )
