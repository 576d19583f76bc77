"""The layer of the extractors, and the operations that compute it.

A layer is y = relu(scale * xhat + shift + residual), where z = conv(x) and xhat = (z - mean) * rstd. Mean and
variance are those of a channel over all M pixels of the batch, rstd = (variance + eps)^-1/2, and the running
statistics move by momentum towards mean and variance * M / (M - 1). Residual and ReLU are optional; a gate,
the channel mask of masked training, is multiplied into scale and shift. With g = dy where y > 0, or dy where
there is no ReLU, and sums over the M pixels:

    dresidual = g    dshift = sum(g)    dscale = sum(g * xhat)
    dz = scale * rstd * (g - dshift / M - xhat * dscale / M)

Torch's own operations compute this. In training, special kernels can do it: Triton on CUDA (triton.py), C++
on processors (processor.cpp). If several processes share a batch, sums and M are over all of them (SyncedNorm
in der.train). In a frozen layer the normalisation is folded into the convolution.

# B batch, C channels, H and W pixels
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from der.core import distributed
from der.model.kernels import processor
from der.model.kernels.processor import Kernels, Normalized


class ConvNorm(nn.Module):
    """relu(gate * batch_norm(conv(x)) + residual); gate, residual and ReLU are optional; no other bias.

    It computes in the dtype of x; parameters are always float32.
    """

    def __init__(
        self, channels_in: int, channels: int, kernel: int = 3, stride: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.norm.num_batches_tracked = None  # not used here, and it costs one kernel per layer and step
        self.relu = relu
        self.folded = False
        self.gate: Tensor | None = None  # channel mask (C,), while masks are learned
        # Set while training: the weight's values in the dtype of the images; on CUDA the stream for the
        # weight's gradient; on processors the kernels compiled for them.
        self.values: Tensor | None = None
        self.side: torch.cuda.Stream | None = None
        self.kernels: Kernels | None = None

    def forward(self, x_BCHW: Tensor, residual_BCHW: Tensor | None = None) -> Tensor:
        if self.folded:
            if x_BCHW.is_cuda:
                return self.by_triton(x_BCHW, residual_BCHW)
            if processor.serves_folded(x_BCHW):
                return processor.folded_layer(x_BCHW, self.conv, residual_BCHW, self.relu)
        elif self.norm.training:
            if x_BCHW.is_cuda and distributed.world_size() == 1:
                return self.by_triton(x_BCHW, residual_BCHW)
            if self.kernels is not None and self.kernels.serve(x_BCHW, self.conv.out_channels):
                return self.by_compiled(x_BCHW, residual_BCHW, self.kernels)
        return self.by_torch(x_BCHW, residual_BCHW)

    def by_torch(self, x_BCHW: Tensor, residual_BCHW: Tensor | None) -> Tensor:
        weight, bias = self.conv.weight.to(x_BCHW.dtype), self.conv.bias
        bias = None if bias is None else bias.to(x_BCHW.dtype)
        y_BCHW = F.conv2d(x_BCHW, weight, bias, self.conv.stride, self.conv.padding)
        if not self.folded:
            y_BCHW = self.norm(y_BCHW)
        if self.gate is not None:
            y_BCHW = y_BCHW * self.gate[:, None, None].to(y_BCHW.dtype)
        # In place: what autograd keeps is the input of the norm and the output of the layer.
        if residual_BCHW is not None:
            y_BCHW += residual_BCHW
        return F.relu_(y_BCHW) if self.relu else y_BCHW

    def by_triton(self, x_BCHW: Tensor, residual_BCHW: Tensor | None) -> Tensor:
        """Compute the layer with the kernels for CUDA, folded or in training."""
        from der.model.kernels import triton  # only now: Triton is not everywhere

        if self.folded:
            return triton.folded_layer(x_BCHW, self.conv, residual_BCHW, self.relu)
        y_BCHW: Tensor = triton.FusedConvNorm.apply(x_BCHW, *self._parameters_of(residual_BCHW), self)
        return y_BCHW

    def by_compiled(self, x_BCHW: Tensor, residual_BCHW: Tensor | None, kernels: Kernels) -> Tensor:
        """Compute the layer in training with ``kernels``, with a second output for ``fork``."""
        y_BCHW, beside = CompiledConvNorm.apply(x_BCHW, *self._parameters_of(residual_BCHW), self, kernels)
        y_BCHW.beside = beside
        return y_BCHW  # type: ignore[no-any-return]

    def _parameters_of(self, residual_BCHW: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return a layer's inputs as one operation: weight, scale, shift, residual, the weight's values."""
        weight = self.conv.weight
        scale: Tensor = self.norm.weight
        shift: Tensor = self.norm.bias
        if self.gate is not None:
            scale, shift = scale * self.gate, shift * self.gate
        return weight, scale, shift, residual_BCHW, weight if self.values is None else self.values

    def fold(self) -> None:
        """Fold the normalisation, as in evaluation mode, into the convolution's weight and bias."""
        self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
        self.norm = nn.Identity()  # type: ignore[assignment]
        self.folded = True


class CompiledConvNorm(torch.autograd.Function):
    """Computes relu(batch_norm(conv(x)) + residual) of a layer in training mode, with two outputs.

    ``values`` are the weight's values in the dtype of x; the gradient goes to ``weight``. The two outputs are
    for two paths. Their gradients are added as they are used, without a pass for it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None,
        values: Tensor, layer: ConvNorm, kernels: Kernels,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        ctx.set_materialize_grads(False)
        z = _channels_last(F.conv2d(x, values, None, layer.conv.stride, layer.conv.padding))
        # As `y += residual` does: autograd sums its gradient back to the shape that it had.
        residual = None if residual is None else _channels_last(residual.to(z.dtype).expand_as(z))
        done = kernels.normalize(z, layer.norm, scale, shift, residual, layer.relu)
        ctx.save_for_backward(x, values, z, *done, scale, shift)
        ctx.conv, ctx.relu, ctx.kernels, ctx.residual = layer.conv, layer.relu, kernels, residual is not None
        return done.y, done.y.detach()

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, dy: Tensor | None, beside: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, values, z, y, mean, rstd, scale, shift = ctx.saved_tensors
        done = Normalized(y, mean, rstd)
        one, *more = [_channels_last(gradient) for gradient in (dy, beside) if gradient is not None]
        other = more[0] if more else None
        grads = ctx.kernels.differentiate(one, other, z, done, scale, shift, ctx.residual, ctx.relu)
        stride, padding = ctx.conv.stride, ctx.conv.padding
        wanted = [ctx.needs_input_grad[0], True, False]
        dx, dw, _ = torch.ops.aten.convolution_backward(
            grads.dz, x, values, [0], stride, padding, [1, 1], False, [0, 0], 1, wanted
        )
        return dx, dw.float(), grads.dscale_C, grads.dshift_C, grads.dresidual, None, None, None


def fork(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x`` for two paths; if compiled kernels made it, their gradients meet in its layer."""
    return x, getattr(x, "beside", x)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class FusedLayers:
    """The layers of a module in training, with copies of their weights in the dtype of the images.

    The ``kernels`` compiled for a processor compute them, or Triton's on CUDA, where a second stream computes
    the weights' gradients.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype, kernels: Kernels | None = None) -> None:
        self.layers = [layer for layer in module.modules() if isinstance(layer, ConvNorm)]
        self.side = torch.cuda.Stream() if kernels is None else None
        for layer in self.layers:
            layer.side, layer.kernels = self.side, kernels
            if dtype != torch.float32:
                layer.values = layer.conv.weight.detach().to(dtype)

    def cast_weights(self) -> None:
        """Update the values that forward and backward passes use from the weights."""
        values = [layer.values for layer in self.layers if layer.values is not None]
        if values:
            torch._foreach_copy_(values, [layer.conv.weight.detach() for layer in self.layers])

    def join(self) -> None:
        if self.side is not None and self.layers:  # else a capture must not wait for other work
            torch.cuda.current_stream().wait_stream(self.side)

    def release(self) -> None:
        for layer in self.layers:
            layer.side = layer.values = layer.kernels = None


class _Tracer(fx.Tracer):
    """Treats convolutions and batch normalisations as leaves, including subclasses of torch's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d | _BatchNorm) or super().is_leaf_module(m, module_qualified_name)


def fold_pairs(module: nn.Module) -> None:
    """Fold, in place, each batch normalisation that is a convolution's only successor; others stay."""
    try:
        graph = _Tracer().trace(module)
    except Exception:  # a module's code may fail in any way on tracing proxies
        return
    for convolution, norm in [*_find_pairs(module, graph)]:
        conv, bn = module.get_submodule(convolution), module.get_submodule(norm)
        assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
        module.set_submodule(convolution, fuse_conv_bn_eval(conv.eval(), bn.eval()))
        # What is left of a normalisation is the activation that timm's holds.
        module.set_submodule(norm, getattr(bn, "act", None) or nn.Identity())


def _find_pairs(module: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, str]]:
    """Find the names of convolutions and of their normalisations, each of which is called once."""
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        before: Any = node.args[0] if node.args else None
        if not _calls(module, node, nn.BatchNorm2d) or not isinstance(before, fx.Node):
            continue
        if not _calls(module, before, nn.Conv2d) or len(before.users) != 1:
            continue
        if calls[node.target] == calls[before.target] == 1:
            yield str(before.target), str(node.target)


def _calls(module: nn.Module, node: fx.Node, kind: type[nn.Module]) -> bool:
    return node.op == "call_module" and isinstance(module.get_submodule(str(node.target)), kind)
