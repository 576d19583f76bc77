"""Facts about networks that need no torch: a checkpoint's files, architectures, normalisation.

# N images, D features
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from der.settings.sections import Deviation, Section, Share

Real = TypeVar("Real", bound=np.floating)
ROWS = 1024  # of features that are worked on at once
EPSILON = 1e-8  # added to norms, so that a zero feature stays zero
# The files of a checkpoint directory.
METADATA = "network.json"
HEAD = "head.safetensors"
TRUNK = "trunk.safetensors"  # what all extractors have in common, if they do
MEANS = "means.npy"  # of a frozen network's features of each class
START = "start.safetensors"  # before step 1: what the first extractor starts from
COLOURS = 3  # channels of the images that weights to start from are of


def extractor_file(index: int) -> str:
    """Name the file of extractor ``index``, counted from 1."""
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
    """The architecture of an unpruned extractor, apart from its number of input channels."""

    widths: list[int]  # channels of each stage
    blocks: list[int]  # blocks of each stage
    large_stem: bool  # 7x7 with stride 2 and max-pool, for large images, instead of 3x3
    learned_shortcuts: bool  # 1x1 convolutions (option B) instead of zeros (option A)
    zero_blocks: bool  # the last normalisation of each block starts at zero, so that a block is its shortcut

    def full_shape(self) -> Shape:
        """The shape that keeps every channel."""
        stages = [list(range(width)) for width in self.widths]
        inner = [[[*one] for _ in range(blocks)] for one, blocks in zip(stages, self.blocks, strict=True)]
        return Shape(stages, inner)


@dataclass(frozen=True)
class Outputs:
    """The outputs of a network for N images."""

    features: NDArray[np.float32]  # (N, D)
    logits: NDArray[np.float32]  # (N, classes)


def energy(logits_NK: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute log sum exp of the logits minus their mean (N,): low for images of unknown classes.

    Liu et al. 2020, "Energy-based Out-of-distribution Detection", section 3.1, with the sign turned.
    """
    logits_NK = logits_NK.astype(np.float64) - logits_NK.mean(axis=1, keepdims=True)
    top_N1 = logits_NK.max(axis=1, keepdims=True)
    total_N: NDArray[np.float64] = np.log(np.exp(logits_NK - top_N1).sum(axis=1)) + top_N1[:, 0]
    return total_N


def likeness(features_ND: NDArray[np.floating], means_KD: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the cosine of features and the nearest of the normalised class means (N,)."""
    nearest_N: NDArray[np.float64] = (normalize_features(features_ND) @ means_KD.T).max(axis=1)
    return nearest_N


class Familiarity(Section, frozen=True):
    """How familiar an image is: its energy and its likeness, each divided by its deviation."""

    energy: float  # the deviation over held-out images of known classes
    likeness: float
    least: float  # 95 % of these images are at least so familiar

    def score(self, outputs: Outputs, means_KD: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the familiarity of each image (N,)."""
        near_N = likeness(outputs.features, means_KD)
        return energy(outputs.logits) / self.energy + near_N / self.likeness

    def unknown_auroc(self, classes: Sequence[Outputs], means_KD: NDArray[np.floating]) -> float:
        """Tell how often an image is more familiar than one of a class without its outputs, in percent.

        It is a mean over the classes, some points too high, because the classifier was fitted with the class.
        """
        found, near = [], [normalize_features(one.features) @ means_KD.T for one in classes]
        for label in range(len(classes)):
            rest = np.arange(len(classes)) != label
            scores = [
                energy(one.logits[:, rest]) / self.energy + own[:, rest].max(axis=1) / self.likeness
                for one, own in zip(classes, near, strict=True)
            ]
            unknown, known = np.sort(scores.pop(label)), np.concatenate(scores)
            below = [np.searchsorted(unknown, known, side).mean() for side in ("left", "right")]
            found.append(50 * sum(below) / len(unknown))
        return round(float(np.mean(found)), 4)


class Normalization(Section, frozen=True):
    """Per-channel mean and standard deviation of pixels in [0, 1]."""

    mean: list[Share]
    std: list[Deviation]


def measure_normalization(arrays: Iterable[NDArray[np.uint8]]) -> Normalization:
    """Compute mean and deviation over all pixels of images (n, H, W, C), array by array.

    A channel that never varies gets deviation 1, so that it maps to zero.
    """
    histogram: NDArray[np.int64] | None = None
    for images in arrays:
        channels = range(images.shape[-1])
        counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in channels])
        histogram = counts if histogram is None else histogram + counts
    assert histogram is not None
    # From whole-number counts the sums are exact, whatever the order of images.
    values, total = np.arange(256) / 255, histogram.sum(1)
    mean = histogram @ values / total
    std = np.sqrt(np.maximum(histogram @ values**2 / total - mean**2, 0))
    std = np.where(std > 1e-6, std, 1.0)
    return Normalization(mean.tolist(), std.tolist())


def normalize_features(features_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    """Divide rows by their L2 norm, in float64, for herding and nearest-mean prediction."""
    wide: NDArray[np.float64] = features_ND.astype(np.float64)
    for some in in_parts(wide):
        some /= np.linalg.norm(some, axis=1, keepdims=True) + EPSILON
    return wide


def class_mean(features_ND: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the normalised mean (D,) of the normalised features, for prediction by the nearest mean."""
    mean = normalize_features(features_ND).mean(axis=0, keepdims=True)
    unit: NDArray[np.float64] = normalize_features(mean)[0]
    return unit.astype(np.float32)


def in_parts(features_ND: NDArray[Real]) -> Iterator[NDArray[Real]]:
    """Yield views of neighbouring rows, for work that would otherwise double the memory."""
    for start in range(0, len(features_ND), ROWS):
        yield features_ND[start : start + ROWS]
