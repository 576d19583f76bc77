"""Frozen extractors made cheaper: batch normalisation folded into the convolution before it."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

BATCHNORM_OF = {"conv": "bn", "conv1": "bn1", "conv2": "bn2"}


def fold_batchnorm(extractor: nn.Module) -> nn.Module:
    """A copy in evaluation mode without batch normalisation, equal to about 1e-6 of its features.

    Computed in float64, so that the only rounding is that of the folded weights.
    """
    folded = copy.deepcopy(extractor).double().eval()
    for block in list(folded.modules()):
        for conv_name, bn_name in BATCHNORM_OF.items():
            conv, bn = getattr(block, conv_name, None), getattr(block, bn_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                setattr(block, conv_name, fuse_conv_bn_eval(conv, bn))
                setattr(block, bn_name, nn.Identity())
    folded.requires_grad_(False)
    return folded.to(torch.float32)
