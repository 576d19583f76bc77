"""Batch normalisation by the statistics of a batch that is spread over several processes.

Torch's SyncBatchNorm, which does this, works on CUDA alone.

# C channels
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from der.core import distributed


def synced_statistics() -> AbstractContextManager[Any]:
    """Make every batch normalisation in the block use the statistics of the ranks' batches together."""
    return _Synced() if distributed.world_size() > 1 else nullcontext()


class _Synced(TorchFunctionMode):
    """Replaces torch's function, which every layer that normalises calls, by ``batch_norm`` below."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        called = batch_norm if function is F.batch_norm else function
        return called(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise (N, C, ...) as torch.nn.functional.batch_norm, where N are the images of all ranks."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    values, mean, variance = pooled_statistics(input.detach())
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * (values / (values - 1)), momentum)
    scale = torch.ones_like(mean) if weight is None else weight
    shift = torch.zeros_like(mean) if bias is None else bias
    normalized: Tensor = SyncedNorm.apply(input, scale, shift, mean, variance, values, eps)
    return normalized


def pooled_statistics(input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the number of values per channel, mean (C,) and biased variance (C,) over all ranks, float32.

    Each rank's sum of squares is about its own mean; they are merged (Chan, Golub, LeVeque 1979).
    """
    channels = input.shape[1]
    rows = input.transpose(0, 1).reshape(channels, -1).float()
    own = torch.full((1,), float(rows.shape[1]), device=input.device)
    mean = rows.sum(1) / own.clamp(min=1)
    squares = (rows - mean[:, None]).square().sum(1)
    all_ranks = distributed.all_gather(torch.cat([own, mean, squares]))
    counts, means, sums = all_ranks[:, :1], all_ranks[:, 1 : 1 + channels], all_ranks[:, 1 + channels :]
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    squares = (sums + counts * (means - mean).square()).sum(0)
    return total, mean, squares / total


class SyncedNorm(torch.autograd.Function):
    """Computes (x - mean) / sqrt(variance + eps) * scale + shift; the statistics depend on all ranks' x.

    dx = scale / sigma * (dy - mean(dy) - xhat * mean(dy xhat)), the means over all ranks; the gradients of
    scale and shift are this rank's share.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        mean: Tensor,
        variance: Tensor,
        values: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, scale, mean, variance, values)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, scale, shift, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        x, scale, mean, variance, values = ctx.saved_tensors
        over = [axis for axis in range(x.dim()) if axis != 1]
        form = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        deviation = torch.rsqrt(variance + ctx.eps)
        hat = (x.float() - mean.view(form)) * deviation.view(form)
        dy = dy.float()
        dshift, dscale = dy.sum(over), (dy * hat).sum(over)
        means = torch.stack([dshift, dscale])
        distributed.all_reduce([means])
        means = means / values
        dx = (dy - means[0].view(form) - hat * means[1].view(form)) * (scale * deviation).view(form)
        return dx.to(x.dtype), dscale, dshift, None, None, None, None
