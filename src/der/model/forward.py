"""Forward passes over many images, without gradients or augmentation, by networks made cheaper for it.

# N images, B batch, C channels of an image or classes, H and W pixels, D features of all extractors together
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from der.core import distributed
from der.core.files import release
from der.model.architecture import Normalization
from der.model.kernels.layers import ConvNorm
from der.model.network import Extractor, Network

PASS_VALUES = 512 * 3 * 32 * 32  # input values per forward pass: bounds memory for large images


@dataclass(frozen=True)
class Outputs:
    """What a network says of N images."""

    features: NDArray[np.float32]  # (N, D)
    logits: NDArray[np.float32]  # (N, C)


@torch.inference_mode()
def run_network(
    network: Network,
    normalization: Normalization,
    images: NDArray[np.uint8],
    device: torch.device,
    precision: torch.dtype = torch.float32,
) -> Outputs:
    """Super-features and logits of images (N, H, W, C) uint8, in evaluation mode.

    ``network`` must be on ``device``; its extractors compute in ``precision``.
    """
    network.eval()
    normalize = Normalize(normalization).to(device)
    per_pass = images_per_pass(images[0].size)
    # Of several ranks each takes a row of images; passes of other lengths may round another way.
    part = distributed.shard(len(images))
    features = torch.zeros(len(images), network.head.in_features)
    logits = torch.zeros(len(images), network.head.out_features)
    for start in range(part.start, part.stop, per_pass):
        own = slice(start, min(start + per_pass, part.stop))
        batch = torch.from_numpy(np.array(images[own])).to(device)
        release(images)
        inputs = normalize(batch.permute(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
        features_BD = network.features(inputs.to(precision))
        features[own] = features_BD.cpu()
        logits[own] = network.head(features_BD).cpu()
    distributed.all_reduce([features, logits])
    return Outputs(features.numpy(), logits.numpy())


def outputs_by_class(
    network: Network, normalization: Normalization, classes: Iterable[NDArray[np.uint8]], device: torch.device
) -> Iterator[Outputs]:
    """Outputs for the images (N, H, W, C) of each class; ``network`` is folded.

    Classes of few images share passes, for a network of many extractors takes as long for one image as for
    dozens.
    """
    for some in _passes(classes):
        images = some[0]
        if len(some) > 1:
            images = np.concatenate(some)
            for one in some:
                release(one)
        outputs = run_network(network, normalization, images, device)
        ends = np.cumsum([len(one) for one in some])[:-1]
        yield from map(Outputs, np.split(outputs.features, ends), np.split(outputs.logits, ends))


def _passes(classes: Iterable[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    """Neighbours whose images go through a network at once, or a class that needs a pass or more alone."""
    some: list[NDArray[np.uint8]] = []
    for images in classes:
        if some and sum(map(len, some)) + len(images) > images_per_pass(images[0].size):
            yield some
            some = []
        some.append(images)
    if some:
        yield some


def features_of(
    network: Network, normalization: Normalization, device: torch.device
) -> Callable[[Iterable[NDArray[np.uint8]]], Iterator[NDArray[np.float32]]]:
    """A function from several classes' images (N, H, W, C) to their super-features (N, D).

    The network is folded once.
    """
    folded = fold_network(network, device)
    return lambda classes: (
        outputs.features for outputs in outputs_by_class(folded, normalization, classes, device)
    )


def images_per_pass(values: int) -> int:
    """How many images of so many input values go through the network at once."""
    return max(1, PASS_VALUES // values)


class Normalize(nn.Module):
    """Bytes (B, C, H, W) uint8 to float32: scaled to [0, 1], mean subtracted, divided by the deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, normalization: Normalization) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(normalization.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(normalization.std)[:, None, None])

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return (images_BCHW.float() / 255 - self.mean) / self.std


def fold_network(network: Network, device: torch.device, dtype: torch.dtype = torch.float32) -> Network:
    """``network`` with all extractors as of ``place_folded``, on ``device``; its classifier goes along."""
    return Network([place_folded(one, device, dtype) for one in network.extractors], network.head.to(device))


def fold_batchnorm(extractor: Extractor) -> Extractor:
    """A copy on the CPU without batch normalisation and gradients, equal to about 1e-6 of its features.

    Computed in float64, so that the only rounding is that of the folded weights. What has no method ``fold``,
    as ConvNorm has, is copied as it is, in evaluation mode.
    """
    folded = copy.deepcopy(extractor).cpu().double().eval()  # Apple's GPUs have no float64
    for layer in [*folded.modules()]:
        if fold := getattr(layer, "fold", None):
            fold()
    return folded.to(torch.float32).requires_grad_(False)


def place_folded(extractor: Extractor, device: torch.device, dtype: torch.dtype) -> Extractor:
    """``fold_batchnorm`` on ``device``, for images of ``dtype`` with channels last."""
    folded = fold_batchnorm(extractor).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in folded.modules():
        if isinstance(layer, ConvNorm):
            layer.conv.weight.data = layer.conv.weight.data.to(dtype)
    return folded  # type: ignore[no-any-return]
