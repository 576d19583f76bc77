"""The layer that extractors are made of.

# B batch, C channels, H and W pixels
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from der.core import distributed
from der.model.kernels import onednn, processor_layer
from der.model.kernels.processor import Kernels


class ConvNorm(nn.Module):
    """relu(gate * batch_norm(conv(x)) + residual), all but convolution and norm optional; no other bias.

    Computes in the dtype of x; parameters are float32 all the same.
    """

    def __init__(
        self, channels_in: int, channels: int, kernel: int = 3, stride: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.norm.num_batches_tracked = None  # unused with a momentum, and one kernel per layer and step
        self.relu = relu
        self.folded = False
        self.gate: Tensor | None = None  # channel mask (C,), while masks are learned
        # Set while training: the weight's values in the dtype of the images; on CUDA the stream for the
        # weight's gradient; on processors the kernels compiled for them.
        self.values: Tensor | None = None
        self.side: torch.cuda.Stream | None = None
        self.kernels: Kernels | None = None

    def forward(self, x_BCHW: Tensor, residual_BCHW: Tensor | None = None) -> Tensor:
        learns_statistics = not self.folded and self.norm.training
        if x_BCHW.is_cuda and (self.folded or (learns_statistics and distributed.world_size() == 1)):
            return self._fused(x_BCHW, residual_BCHW)
        served = self.kernels is not None and self.kernels.serve(x_BCHW, self.conv.out_channels)
        if self.kernels is not None and served and learns_statistics:
            return self._compiled(x_BCHW, residual_BCHW, self.kernels)
        if self.folded and onednn.serves(x_BCHW):
            return onednn.folded_layer(x_BCHW, self.conv, residual_BCHW, self.relu)
        y_BCHW = self._convolve(x_BCHW)
        if not self.folded:
            y_BCHW = self.norm(y_BCHW)
        if self.gate is not None:
            y_BCHW = y_BCHW * self.gate[:, None, None].to(y_BCHW.dtype)
        # In place: what autograd keeps is the input of the norm and the output of the layer.
        if residual_BCHW is not None:
            y_BCHW += residual_BCHW
        return F.relu_(y_BCHW) if self.relu else y_BCHW

    def _convolve(self, x_BCHW: Tensor) -> Tensor:
        weight, bias = self.conv.weight.to(x_BCHW.dtype), self.conv.bias
        bias = None if bias is None else bias.to(x_BCHW.dtype)
        return F.conv2d(x_BCHW, weight, bias, self.conv.stride, self.conv.padding)

    def _fused(self, x_BCHW: Tensor, residual_BCHW: Tensor | None) -> Tensor:
        from der.model.kernels import fused  # only now: Triton is not everywhere

        if self.folded:
            return fused.folded_layer(x_BCHW, self.conv, residual_BCHW, self.relu)
        form = fused.Form(self.conv, self.norm, self.relu, self.side)
        y_BCHW: Tensor = fused.FusedConvNorm.apply(x_BCHW, *self._parameters_of(residual_BCHW), form)
        return y_BCHW

    def _compiled(self, x_BCHW: Tensor, residual_BCHW: Tensor | None, kernels: Kernels) -> Tensor:
        form = processor_layer.CompiledForm(self.conv, self.norm, self.relu, kernels)
        return processor_layer.train_layer(x_BCHW, *self._parameters_of(residual_BCHW), form)

    def _parameters_of(self, residual_BCHW: Tensor | None) -> tuple[Tensor | None, ...]:
        """What a layer as one operation takes: weight, scale, shift, residual, the weight's values."""
        weight = self.conv.weight
        scale: Tensor = self.norm.weight
        shift: Tensor = self.norm.bias
        if self.gate is not None:
            scale, shift = scale * self.gate, shift * self.gate
        return weight, scale, shift, residual_BCHW, weight if self.values is None else self.values

    def fold(self) -> None:
        """Put the normalisation, as in evaluation mode, into weight and bias of the convolution."""
        self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
        self.norm = nn.Identity()  # type: ignore[assignment]
        self.folded = True
