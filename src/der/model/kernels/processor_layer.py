"""Convolution, batch normalisation, addition and ReLU as one operation of autograd, for processors.

The convolution is torch's; what follows it goes through memory as few times as can be.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.model.kernels.processor import Kernels, Normalized


@dataclass(frozen=True)
class CompiledForm:
    """What a layer in training mode is, beside the tensors that autograd sees."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    relu: bool
    kernels: Kernels


class CompiledConvNorm(torch.autograd.Function):
    """relu(batch_norm(conv(x)) + residual) of a layer in training mode, twice.

    ``values`` are the weight's values in the dtype of x; the gradient goes to ``weight``. Two ways may lead
    on, one from either output: their gradients are added as they are used, not in a pass of its own.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None,
        values: Tensor, form: CompiledForm,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        ctx.set_materialize_grads(False)
        z = _channels_last(F.conv2d(x, values, None, form.conv.stride, form.conv.padding))
        # As `y += residual` does: autograd sums its gradient back to the shape that it had.
        residual = None if residual is None else _channels_last(residual.to(z.dtype).expand_as(z))
        done = form.kernels.normalize(z, form.norm, scale, shift, residual, form.relu)
        ctx.save_for_backward(x, values, z, *done, scale, shift)
        ctx.form, ctx.residual = form, residual is not None
        return done.y, done.y.detach()

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, dy: Tensor | None, beside: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, values, z, y, mean, rstd, scale, shift = ctx.saved_tensors
        form, done = ctx.form, Normalized(y, mean, rstd)
        one, *more = [_channels_last(gradient) for gradient in (dy, beside) if gradient is not None]
        other = more[0] if more else None
        grads = form.kernels.differentiate(one, other, z, done, scale, shift, ctx.residual, form.relu)
        stride, padding = form.conv.stride, form.conv.padding
        wanted = [ctx.needs_input_grad[0], True, False]
        dx, dw, _ = torch.ops.aten.convolution_backward(
            grads.dz, x, values, [0], stride, padding, [1, 1], False, [0, 0], 1, wanted
        )
        return dx, dw.float(), grads.dscale_C, grads.dshift_C, grads.dresidual, None, None


def train_layer(x: Tensor, *rest: Tensor | CompiledForm | None) -> Tensor:
    """The output of CompiledConvNorm, which ``fork`` can take for two ways."""
    y, beside = CompiledConvNorm.apply(x, *rest)
    y.beside = beside
    return y  # type: ignore[no-any-return]


def fork(x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` for two ways, whose gradients meet in the layer it comes from, if ``train_layer`` made it."""
    return x, getattr(x, "beside", x)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
