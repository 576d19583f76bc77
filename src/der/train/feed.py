"""From an epoch's draws to batches that can be trained on, on any device.

# B batch, W window of several batches, C channels, H and W pixels, P frozen features
"""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from der.core import ranks
from der.model.forward import Normalize, place_folded
from der.model.network import Extractor
from der.model.normalization import Normalization
from der.settings.training import AugmentationSettings
from der.train.augmentation import Draws, augment
from der.train.training_images import Gatherer, TrainingImages

WINDOW_VALUES = 2048 * 3 * 32 * 32  # input values prepared ahead of the batches that use them


class Batch(NamedTuple):
    """What a step of gradient descent sees, on the device: of several ranks, this one's part."""

    images_BCHW: Tensor  # normalised, channels last, in the feed's precision
    frozen_BP: Tensor  # features of the frozen extractors, float32
    labels_B: Tensor  # int64
    share: Tensor  # float32 scalar, this rank's share of the whole batch's images
    whole: int  # how many those are


class Piece(NamedTuple):
    """How many images of a batch are this rank's."""

    own: int
    whole: int


def take_part(draws: Draws, size: int) -> tuple[Draws, list[Piece]]:
    """This rank's part of every batch of ``size`` images, the last of which may be small."""
    starts = range(0, len(draws.order), size)
    sizes = [min(size, len(draws.order) - start) for start in starts]
    parts = [ranks.part(whole) for whole in sizes]
    pieces = [Piece(part.stop - part.start, whole) for part, whole in zip(parts, sizes, strict=True)]
    if ranks.count() == 1:
        return draws, pieces
    places = [torch.empty(0, dtype=torch.int64)]
    places += [torch.arange(at + part.start, at + part.stop) for at, part in zip(starts, parts, strict=True)]
    return draws[torch.cat(places)], pieces


class Feed:
    """Batches of augmented images and the features of frozen extractors.

    Frozen extractors in evaluation mode see every image by itself, so their features are computed for a
    window of several batches at once, with batch normalisation folded, before the batches are trained on.
    """

    def __init__(
        self,
        images: TrainingImages,
        frozen: Sequence[Extractor],
        normalization: Normalization,
        augmentation: AugmentationSettings,
        precision: torch.dtype,
        device: torch.device,
    ) -> None:
        self.device = device
        self.precision = precision
        self.frozen = [place_folded(extractor, device, precision) for extractor in frozen]
        self.gatherer = Gatherer(images, device)
        self.normalize = Normalize(normalization).to(device)
        self.augmentation = augmentation

    def batches(self, draws: Draws, size: int) -> Iterator[Batch]:
        """Every image once, in the order and with the changes that ``draws`` holds; the last may be small.

        ``size`` is that of all ranks' parts together.
        """
        for inputs_WCHW, labels_W, pieces in self._windows(draws, size):
            frozen_WP = self._frozen_features(inputs_WCHW)
            sizes = [piece.own for piece in pieces]
            parts = (values.split(sizes) for values in (inputs_WCHW, frozen_WP, labels_W))
            shares = torch.tensor([piece.own / piece.whole for piece in pieces], device=self.device)
            wholes = [piece.whole for piece in pieces]
            yield from map(Batch._make, zip(*parts, shares, wholes, strict=True))

    def inputs(self, draws: Draws, size: int) -> Iterator[tuple[Tensor, int]]:
        """The images (B, C, H, W) of ``batches`` alone, and how many the whole batch has."""
        for inputs_WCHW, _, pieces in self._windows(draws, size):
            images = inputs_WCHW.split([piece.own for piece in pieces])
            yield from zip(images, (piece.whole for piece in pieces), strict=True)

    def _windows(self, draws: Draws, size: int) -> Iterator[tuple[Tensor, Tensor, list[Piece]]]:
        """Inputs (W, C, H, W) and labels (W,), parts of whole batches at a time."""
        window = max(1, WINDOW_VALUES // (self.gatherer.values_per_image * size)) * size
        starts = range(0, len(draws.order), window)
        parts = [take_part(draws[start : start + window], size) for start in starts]
        for (own, pieces), following in zip_longest(parts, parts[1:]):
            if following:
                self.gatherer.expect(following[0].order)
            yield *self._prepare(own), pieces

    @torch.no_grad()
    def _prepare(self, draws: Draws) -> tuple[Tensor, Tensor]:
        images_WHWC, labels_W = self.gatherer(draws.order)
        inputs_WCHW = self.normalize(augment(images_WHWC, draws.to(self.device), self.augmentation))
        return inputs_WCHW.to(self.precision).contiguous(memory_format=torch.channels_last), labels_W

    @torch.no_grad()
    def _frozen_features(self, inputs_WCHW: Tensor) -> Tensor:
        if not self.frozen:
            return torch.empty(len(inputs_WCHW), 0, device=self.device)
        return torch.cat([extractor(inputs_WCHW) for extractor in self.frozen], dim=1)
