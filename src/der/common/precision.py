"""In which numbers the extractors compute; weights, classifiers, losses and updates stay in float32."""

import torch

from der.common.errors import UserError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of the images on ``device``, which layers follow: ``name`` is "float32" or "bfloat16".

    Raises UserError for another name, and for a GPU that has no bfloat16.
    """
    if name not in PRECISIONS:
        raise UserError(f"precision: {name!r} does not exist; write {' or '.join(PRECISIONS)}")
    if name == "bfloat16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        raise UserError("precision: this GPU has no bfloat16; write float32")
    return PRECISIONS[name]
