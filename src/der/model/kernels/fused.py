"""Convolution, batch normalisation, addition and ReLU as one operation of autograd, for CUDA.

A network for small images at batch 128 is bound by the number of its kernels and by convolution tiles made
for wider layers. Here a layer is two or three launches forward and five backward, and the gradient of the
weight is off the critical path, on a stream of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.model.kernels import convolution, normalization


@dataclass(frozen=True)
class Form:
    """What a layer in training mode is, beside the tensors that autograd sees."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    relu: bool
    side: torch.cuda.Stream | None  # for the weight's gradient


class FusedConvNorm(torch.autograd.Function):
    """relu(batch_norm(conv(x)) + residual) of a layer in training mode.

    ``values`` are the weight's values in the dtype of x; the gradient goes to ``weight``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None,
        values: Tensor, form: Form,
    ) -> Tensor:  # fmt: skip
        assert x.numel() < 2**31, "the kernels count in 32 bits"
        stride = form.conv.stride[0]
        few_channels = convolution.suits(values, stride)
        x, residual = _channels_last(x), None if residual is None else _channels_last(residual)
        if few_channels:
            z, moments = convolution.convolve(x, values)
        else:
            z = _channels_last(F.conv2d(x, values, None, stride, form.conv.padding))
            moments = normalization.measure_moments(z)
        y, mean, rstd = normalization.normalize(z, moments, form.norm, scale, shift, residual, form.relu)
        ctx.save_for_backward(x, values, z, y, mean, rstd, scale)
        ctx.form, ctx.few_channels, ctx.residual = form, few_channels, residual is not None
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, values, z, y, mean, rstd, scale = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        grads = normalization.normalize_gradients(dy, y, z, mean, rstd, scale, ctx.residual, ctx.form.relu)
        with _beside(ctx.form.side, x, grads.dx):
            if ctx.few_channels:
                dw = convolution.weight_gradient(x, grads.dx, values)
            else:
                dw = _cudnn_gradients(grads.dx, x, values, ctx.form.conv, [False, True, False])[1].float()
            # As the weight lies, so that autograd takes it over: a copy would not wait for this stream.
            dw = _channels_last(dw)
        dx = None
        if ctx.needs_input_grad[0]:
            if ctx.few_channels:
                dx = convolution.input_gradient(grads.dx, values)
            else:
                dx = _cudnn_gradients(grads.dx, x, values, ctx.form.conv, [True, False, False])[0]
        return dx, dw, grads.dweight, grads.dbias, grads.dresidual, None, None


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _cudnn_gradients(
    dy: Tensor, x: Tensor, weight: Tensor, conv: nn.Conv2d, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
        dy, x, weight, [0], list(conv.stride), list(conv.padding), [1, 1], False, [0, 0], 1, wanted
    )


@contextmanager
def _beside(side: torch.cuda.Stream | None, *inputs: Tensor) -> Iterator[None]:
    """Run the block on the stream ``side``, after the work so far; ``inputs`` live until it is done."""
    if side is None:
        yield
        return
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        yield
    for tensor in inputs:
        tensor.record_stream(side)


def folded_layer(x: Tensor, conv: nn.Conv2d, residual: Tensor | None, relu: bool) -> Tensor:
    """relu(conv(x) + residual), the last two optional, of a frozen layer, its normalisation folded."""
    assert conv.bias is not None
    assert x.numel() < 2**31, "the kernels count in 32 bits"
    if relu and convolution.suits(conv.weight, conv.stride[0]):
        residual = None if residual is None else _channels_last(residual)
        return convolution.convolve_activated(_channels_last(x), conv.weight, conv.bias, residual)
    y = F.conv2d(x, conv.weight, conv.bias.to(x.dtype), conv.stride, conv.padding)
    y = y if residual is None else y + residual
    return F.relu(y) if relu else y
