"""Layers prepared for training as one operation: weights cast once a step, and what else a device needs."""

import torch
from torch import nn

from der.model.kernels.layers import ConvNorm
from der.model.kernels.processor import Kernels


class FusedLayers:
    """The layers of a module in training, whose weights' values are at hand in the dtype of the images."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.layers = [layer for layer in module.modules() if isinstance(layer, ConvNorm)]
        for layer in self.layers:
            if dtype != torch.float32:
                layer.values = layer.conv.weight.detach().to(dtype)

    def cast_weights(self) -> None:
        """Bring the values that forward and backward passes use up to date with the weights."""
        values = [layer.values for layer in self.layers if layer.values is not None]
        if values:
            torch._foreach_copy_(values, [layer.conv.weight.detach() for layer in self.layers])

    def join(self) -> None:
        """Have what follows wait for the weights' gradients."""

    def release(self) -> None:
        """Leave the layers as they were found."""
        for layer in self.layers:
            layer.side = layer.values = layer.kernels = None


class CudaLayers(FusedLayers):
    """Layers prepared for fused.FusedConvNorm, with a second stream for the weights' gradients."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__(module, dtype)
        self.side = torch.cuda.Stream()
        for layer in self.layers:
            layer.side = self.side

    def join(self) -> None:
        """Have the current stream wait for the weights' gradients."""
        if not self.layers:  # nothing went to the side, and a capture must not wait for other work
            return
        torch.cuda.current_stream().wait_stream(self.side)


class ProcessorLayers(FusedLayers):
    """Layers prepared for processor_layer.CompiledConvNorm."""

    def __init__(self, module: nn.Module, dtype: torch.dtype, kernels: Kernels) -> None:
        super().__init__(module, dtype)
        for layer in self.layers:
            layer.kernels = kernels
