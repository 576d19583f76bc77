"""What is known of networks without torch: a checkpoint's files, architectures, normalisation.

# N images, D features
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.settings.sections import Deviation, NetworkSettings, Section, Share

Real = TypeVar("Real", bound=np.floating)
ROWS = 1024  # of features that are worked on at once
EPSILON = 1e-8  # added to norms, so that a zero feature stays zero
# The files of a checkpoint directory.
METADATA = "network.json"
HEAD = "head.safetensors"
START = "start.safetensors"  # before step 1: what the first extractor starts from
COLOURS = 3  # channels of the images that weights to start from are of
BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}  # by depth: of each stage (He et al. 2016, table 1)


def extractor_file(index: int) -> str:
    """File name of the extractor of ``index``, counted from 1."""
    return f"extractor_{index}.safetensors"


@dataclass(frozen=True)
class Shape:
    """The channels an extractor keeps, as sorted indices of the unpruned architecture's channels.

    All layers that add to one residual stream keep the same channels.
    """

    streams: list[list[int]]  # of each stage's residual stream
    inner: list[list[list[int]]]  # of the first convolution of each block, by stage


@dataclass(frozen=True)
class Architecture:
    """An unpruned extractor, apart from its number of input channels."""

    widths: list[int]  # channels of each stage
    blocks: list[int]  # blocks of each stage
    large_stem: bool  # 7x7 with stride 2 and max-pool, for large images, instead of 3x3
    learned_shortcuts: bool  # 1x1 convolutions (option B) instead of zeros (option A)
    zero_blocks: bool  # the last normalisation of each block starts at zero, so that a block is its shortcut

    def full_shape(self) -> Shape:
        """The shape that keeps every channel."""
        inner = [
            [list(range(width)) for _ in range(blocks)]
            for width, blocks in zip(self.widths, self.blocks, strict=True)
        ]
        return Shape([list(range(width)) for width in self.widths], inner)


def plan_cifar_resnet(settings: NetworkSettings) -> Architecture:
    """The residual networks for small images of He et al. 2016, section 4.2.

    Raises UserError, the key first, for settings that name none of them.
    """
    if (settings.depth - 2) % 6:
        raise UserError(f"depth: {settings.depth} is not 6n + 2; write 8, 14, 20, 26, 32, 44, 56 or 110")
    if settings.stem == "large":
        raise UserError("stem: large goes with backbone resnet; write small")
    blocks = [(settings.depth - 2) // 6] * 3
    return Architecture([16, 32, 64], blocks, large_stem=False, learned_shortcuts=False, zero_blocks=False)


def plan_resnet(settings: NetworkSettings) -> Architecture:
    """The residual networks of basic blocks of He et al. 2016, table 1.

    A block starts as its shortcut (Goyal et al. 2017, section 5.1; the authors' code). Raises UserError, the
    key first, for settings that name none of them.
    """
    if settings.depth not in BLOCKS:
        raise UserError(f"depth: {settings.depth} is no depth of backbone resnet; write 18 or 34")
    large = settings.stem == "large"
    widths = [64, 128, 256, 512]
    return Architecture(
        widths, BLOCKS[settings.depth], large_stem=large, learned_shortcuts=True, zero_blocks=True
    )


class Normalization(Section, frozen=True):
    """Per-channel mean and standard deviation of pixels in [0, 1]."""

    mean: list[Share]
    std: list[Deviation]


def measure_normalization(arrays: Iterable[NDArray[np.uint8]]) -> Normalization:
    """Mean and deviation over all pixels of images (n, H, W, C), an array after the other.

    A channel that never varies gets deviation 1, so that it maps to zero.
    """
    histogram: NDArray[np.int64] | None = None
    for images in arrays:
        channels = range(images.shape[-1])
        counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in channels])
        histogram = counts if histogram is None else histogram + counts
    assert histogram is not None
    # From whole-number counts the sums are exact, whatever the order of images.
    values = np.arange(256) / 255
    total = histogram.sum(1)
    mean = histogram @ values / total
    std = np.sqrt(np.maximum(histogram @ values**2 / total - mean**2, 0))
    std = np.where(std > 1e-6, std, 1.0)
    return Normalization(mean.tolist(), std.tolist())


def normalize_features(features_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows divided by their L2 norm, in float64, as herding and nearest-mean prediction compare them."""
    wide: NDArray[np.float64] = features_ND.astype(np.float64)
    for some in in_parts(wide):
        some /= np.linalg.norm(some, axis=1, keepdims=True) + EPSILON
    return wide


def in_parts(features_ND: NDArray[Real]) -> Iterator[NDArray[Real]]:
    """Views of neighbouring rows, for what would else take as much memory as all of them once more."""
    for start in range(0, len(features_ND), ROWS):
        yield features_ND[start : start + ROWS]
