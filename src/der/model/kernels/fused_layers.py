"""Layers prepared for fused training: weights cast once a step, and a second stream for their gradients."""

import torch
from torch import nn

from der.model.kernels.layers import ConvNorm


class FusedLayers:
    """The layers of a module that trains on CUDA, prepared for fused.FusedConvNorm."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.layers = [layer for layer in module.modules() if isinstance(layer, ConvNorm)]
        self.side = torch.cuda.Stream()
        for layer in self.layers:
            layer.side = self.side
            if dtype != torch.float32:
                layer.values = layer.conv.weight.detach().to(dtype)

    def cast_weights(self) -> None:
        """Bring the values that forward and backward passes use up to date with the weights."""
        values = [layer.values for layer in self.layers if layer.values is not None]
        if values:
            torch._foreach_copy_(values, [layer.conv.weight.detach() for layer in self.layers])

    def join(self) -> None:
        """Have the current stream wait for the weights' gradients."""
        if not self.layers:  # nothing went to the side, and a capture must not wait for other work
            return
        torch.cuda.current_stream().wait_stream(self.side)

    def release(self) -> None:
        """Leave the layers as they were found."""
        for layer in self.layers:
            layer.side = layer.values = None
