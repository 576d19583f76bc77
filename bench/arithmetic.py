"""The multiplications and additions that training takes, and how fast this machine does them.

# C channels, H and W pixels
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from der.model.kernels.layers import ConvNorm
from der.model.network import Extractor

SIDE = 2048  # of the matrices that are multiplied
IMAGES, CHANNELS, PIXELS = 16, 256, 32  # of the convolution, pixels of a side
PRODUCTS = 7


@torch.no_grad()
def measure_operations(extractor: Extractor, channels: int, side: int) -> tuple[int, int]:
    """Of all convolutions for one image, forward, and of the first alone; a multiply-add counts as two."""
    found: list[int] = []

    def count(layer: nn.Module, _: tuple[Tensor, ...], result: Tensor) -> None:
        assert isinstance(layer, ConvNorm)
        found.append(2 * result.numel() * layer.conv.weight[0].numel())

    layers = [module for module in extractor.modules() if isinstance(module, ConvNorm)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    extractor.eval()(torch.zeros(1, channels, side, side))
    for hook in hooks:
        hook.remove()
    return sum(found), found[0]


def epoch_operations(operations: tuple[int, int], frozen: int, images: int) -> int:
    """Of an epoch: a trained layer takes as many again for its weights' gradient, and for its input's.

    The first needs no gradient of its input; frozen ones go forward alone.
    """
    every, first = operations
    return images * ((3 + frozen) * every - first)


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a product of large matrices or of a large convolution, whichever is faster.

    A processor's library for the one may be slower than that for the other.
    """
    left, right = (torch.ones(SIDE, SIDE, dtype=dtype, device=device) for _ in range(2))
    images = torch.ones(IMAGES, CHANNELS, PIXELS, PIXELS, dtype=dtype, device=device)
    weights = torch.ones(CHANNELS, CHANNELS, 3, 3, dtype=dtype, device=device)
    images, weights = (one.contiguous(memory_format=torch.channels_last) for one in (images, weights))
    return max(
        2 * SIDE**3 / _seconds_of(lambda: left @ right),
        2 * images.numel() * weights[0].numel() / _seconds_of(lambda: conv2d(images, weights, padding=1)),
    )


@torch.no_grad()
def _seconds_of(work: Callable[[], Tensor]) -> float:
    """The median of some, without the first."""
    seconds = []
    for _ in range(1 + PRODUCTS):
        begin = time.perf_counter()
        work().flatten()[0].item()  # waits for a GPU
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])
