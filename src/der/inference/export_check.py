"""An export that was read back, against the network that it was made from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from der.core.errors import UserError
from der.data.sources.pictures import resize_all
from der.model.forward import run_network
from der.model.metadata import Metadata
from der.model.network import Network

BATCH_ENDS = (1, 3, 8)  # of the images that an export is compared on
LARGEST_DIFFERENCE = 1e-4  # of a probability's logarithm, relative to that of the least probable class
SMALLEST = -80.0  # of a probability's logarithm, in float32 with all its digits

ExportedNetwork = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # an export that was read back


def check_equal(exported: ExportedNetwork, network: Network, metadata: Metadata, path: Path) -> None:
    """Raise UserError if an export differs from the network on ``sample_images``.

    By the logarithms of probabilities: of a trained network the largest ones are 1 whatever the image.
    """
    images = sample_images(metadata)
    logits = run_network(network, metadata.normalization, images, torch.device("cpu")).logits
    expected = torch.from_numpy(logits).log_softmax(dim=1).numpy()
    with np.errstate(divide="ignore"):
        found = np.concatenate([np.log(exported(part)) for part in np.split(images, BATCH_ENDS[:-1])])
    differences = np.abs(np.maximum(found, SMALLEST) - np.maximum(expected, SMALLEST))
    difference = float((differences / (1 + np.abs(expected).max(axis=1, keepdims=True))).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise UserError(
            f"{path}: not written, its probabilities differ from the network's, their logarithms by "
            f"{difference:.1g} of the largest; take the other --format"
        )


def sample_images(metadata: Metadata) -> NDArray[np.uint8]:
    """Eight images (8, side, side, channels): noise, smooth ones, noise of black and white, black, white."""
    random = np.random.RandomState(0)
    side, channels = metadata.image_side, metadata.channels
    shape = (2, side, side, channels)
    noise = random.randint(0, 256, shape, dtype=np.uint8)
    coarse = random.randint(0, 256, (2, 3, 3, channels), dtype=np.uint8)
    smooth = resize_all(coarse[..., 0] if channels == 1 else coarse, side, channels)
    stark = random.randint(0, 2, shape, dtype=np.uint8) * np.uint8(255)
    flat = np.stack([np.full(shape[1:], value, np.uint8) for value in (0, 255)])
    return np.concatenate([noise, smooth, stark, flat])
