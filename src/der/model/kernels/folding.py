"""Frozen extractors made cheaper: batch normalisation folded into the convolution before it."""

import copy
from typing import Protocol, runtime_checkable

import torch

from der.model.extractor import Extractor
from der.model.kernels.layers import ConvNorm


@runtime_checkable
class Foldable(Protocol):
    """A module that can do without its batch normalisation, in evaluation mode."""

    def fold(self) -> None:
        """Put the normalisation into the convolutions, in place."""


def fold_batchnorm(extractor: Extractor) -> Extractor:
    """A copy on the CPU without batch normalisation and gradients, equal to about 1e-6 of its features.

    Computed in float64, so that the only rounding is that of the folded weights. What has no method ``fold``,
    as ConvNorm has, is copied as it is, in evaluation mode.
    """
    folded = copy.deepcopy(extractor).cpu().double().eval()  # Apple's GPUs have no float64
    for layer in [*folded.modules()]:
        if isinstance(layer, Foldable):
            layer.fold()
    return folded.to(torch.float32).requires_grad_(False)


def place_folded(extractor: Extractor, device: torch.device, dtype: torch.dtype) -> Extractor:
    """``fold_batchnorm`` on ``device``, for images of ``dtype`` with channels last."""
    folded = fold_batchnorm(extractor).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in folded.modules():
        if isinstance(layer, ConvNorm):
            layer.conv.weight.data = layer.conv.weight.data.to(dtype)
    return folded  # type: ignore[no-any-return]
