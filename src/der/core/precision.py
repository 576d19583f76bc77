"""In which numbers the extractors compute; weights, classifiers, losses and updates stay in float32."""

import torch

from der.core.errors import UserError
from der.core.precision_names import PRECISIONS
from der.core.registry import look_up


def choose_precision(name: str, device: torch.device, where: str) -> torch.dtype:
    """The dtype of the images on ``device``, which layers follow: ``name`` is one of PRECISIONS.

    Raises UserError, ``where`` first, for another name, and for a GPU that has no bfloat16.
    """
    dtype: torch.dtype = look_up({one: getattr(torch, one) for one in PRECISIONS}, name, where)
    is_old = device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)
    if dtype == torch.bfloat16 and is_old:
        raise UserError(f"{where}: this GPU has no bfloat16; write float32")
    return dtype
