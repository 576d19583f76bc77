"""Frozen extractors made cheaper: batch normalisation folded into the convolution before it."""

import copy

import torch
from torch import nn

from der.model.layers import ConvNorm
from der.model.network import Network
from der.model.resnet import ResNet


def fold_batchnorm(extractor: ResNet) -> ResNet:
    """A copy on the CPU without batch normalisation and gradients, equal to about 1e-6 of its features.

    Computed in float64, so that the only rounding is that of the folded weights.
    """
    folded = copy.deepcopy(extractor).cpu().double().eval()  # Apple's GPUs have no float64
    for layer in folded.modules():
        if isinstance(layer, ConvNorm):
            layer.fold()
    return folded.to(torch.float32).requires_grad_(False)


def place_folded(extractor: ResNet, device: torch.device, dtype: torch.dtype) -> ResNet:
    """``fold_batchnorm`` on ``device``, for images of ``dtype`` with channels last."""
    folded = fold_batchnorm(extractor).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in folded.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data.to(dtype)
    return folded  # type: ignore[no-any-return]


def fold_network(network: Network, device: torch.device, dtype: torch.dtype = torch.float32) -> Network:
    """``network`` with all extractors as of ``place_folded``, on ``device``; its classifier goes along."""
    return Network([place_folded(one, device, dtype) for one in network.extractors], network.head.to(device))
