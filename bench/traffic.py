"""The least that training must move through memory, and how fast this machine moves it.

# B batch, C channels, H and W pixels
"""

import math
import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn

from der.model.kernels.layers import ConvNorm
from der.model.network import Extractor

COPY_BYTES = 2**28
COPIES = 9


class Volume(NamedTuple):
    """Values that the layers of an extractor read and write for one image, forward."""

    first: int  # of the image itself
    inputs: int  # of all layers, the first included
    outputs: int


@torch.no_grad()
def measure_volume(extractor: Extractor, channels: int, side: int) -> Volume:
    """Counted on an image of ``side`` x ``side`` pixels that passes through."""
    inputs: list[int] = []
    outputs: list[int] = []

    def count(_: nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> None:
        inputs.append(arguments[0].numel())
        outputs.append(result.numel())

    layers = [module for module in extractor.modules() if isinstance(module, ConvNorm)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    extractor.eval()(torch.zeros(1, channels, side, side))
    for hook in hooks:
        hook.remove()
    return Volume(inputs[0], sum(inputs), sum(outputs))


def epoch_bytes(volume: Volume, parameters: int, frozen: int, images: int, batch: int, width: int) -> int:
    """A lower bound on the bytes of an epoch of training, if no two layers were ever fused.

    A layer is a convolution with its normalisation, addition and ReLU, and moves, in values of ``width``
    bytes (4 float32, 2 bfloat16), for every image:
    - frozen: its input once, its output once;
    - trained, forward: the same;
    - trained, backward: the output's gradient (read), the output (for normalisation and ReLU), the input
      (for the weight's gradient), the input's gradient (written; not of the image).
    Every batch also moves each of the trained ``parameters``: the value read forward and backward in
    ``width`` bytes, and in float32 the gradient written and read, weight and momentum read and written.
    Left out, so that the bound stays one: the second pass of batch normalisation, shortcuts, random
    changes of the images, the classifiers' activations, the frozen weights.
    """
    trained = 3 * (volume.inputs + volume.outputs) - volume.first
    per_image = width * (trained + frozen * (volume.inputs + volume.outputs))
    per_batch = parameters * (2 * width + 6 * 4)
    return images * per_image + math.ceil(images / batch) * per_batch


def predict_bytes(volume: Volume, extractors: int, images: int, width: int) -> int:
    """The same bound for forward passes alone: every layer's input once, its output once."""
    return images * extractors * width * (volume.inputs + volume.outputs)


def measure_bandwidth(device: torch.device) -> float:
    """Bytes per second of copying a large tensor, reads and writes both counted; median of some copies."""
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(1 + COPIES):
        begin = time.perf_counter()
        target.copy_(source)
        target[-1].item()  # waits for a GPU
        seconds.append(time.perf_counter() - begin)
    return 2 * COPY_BYTES / statistics.median(seconds[1:])
