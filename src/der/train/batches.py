"""From a step's images to augmented batches on the device.

# N images, W window of several batches, B batch, H and W pixels, C channels, P frozen features
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from der.core import distributed
from der.core.device import upload
from der.core.randomness import generator
from der.data.arrays import ImageRows, Memory, every_row, join
from der.model.architecture import Normalization
from der.model.network import Extractor, Normalize, place_folded
from der.settings.sections import AugmentationSettings

WINDOW_VALUES = 2048 * 3 * 32 * 32  # input values prepared ahead of the batches that use them


@dataclass(frozen=True)
class TrainingImages:
    """N images and their labels (N,) int64."""

    pixels: ImageRows
    labels: NDArray[np.int64]

    @property
    def side(self) -> int:
        return self.pixels.shape[0]

    @property
    def channels(self) -> Literal[1, 3]:
        """1 for grey images, 3 for colour."""
        return 3 if self.pixels.shape[2] == 3 else 1

    def pick(self, indices_B: NDArray[np.int64]) -> "TrainingImages":
        """Return the images with these indices without copying them."""
        return TrainingImages(self.pixels.pick(indices_B), self.labels[indices_B])


def gather_step(new_classes: Sequence[NDArray[np.uint8]], memory: Memory) -> TrainingImages:
    """Join D_t and M_{t-1} (DER, section 3.1); labels of new classes follow those of the memory."""
    first = len(memory.class_means)
    sizes = [len(images) for images in new_classes]
    new_labels = np.repeat(np.arange(first, first + len(sizes)), sizes)
    images = join([every_row(new_classes), memory.images])
    return TrainingImages(images, np.concatenate([new_labels, memory.labels]))


@dataclass(frozen=True)
class Draws:
    """One epoch's random choices, in the order in which the images are visited; tensors of length N."""

    order: Tensor  # int64, which image
    box: Tensor  # float32 (N, 4), the resized crop: height, width, top and left, as fractions of the side
    top: Tensor  # int64, rows the crop window is moved down in the padded image
    left: Tensor  # int64, likewise columns
    flip: Tensor  # bool
    brightness: Tensor  # float32, factor
    operations: Tensor  # int64 (N, K), numbers of a policy's operations; K is 0 without one
    hole: Tensor  # float32 (N, 2), row and column of the middle of cutout's square, as fractions of the side
    mix: Tensor  # float32 (N, 3), CutMix's lambda and middle of the box; a batch takes its first image's

    def to(self, device: torch.device) -> "Draws":
        return Draws(*(upload(getattr(self, name), device) for name in self.__dataclass_fields__))

    def __getitem__(self, part: slice | Tensor) -> "Draws":
        """Return the draws of a part of the epoch, or of the places in a tensor."""
        return Draws(*(getattr(self, name)[part] for name in self.__dataclass_fields__))


def draw_epoch(
    images: int, settings: AugmentationSettings, seed: int, phase: str, step: int, epoch: int
) -> Draws:
    """Draw for one epoch of a phase: a pure function of the arguments, on the CPU."""

    def stream(purpose: str) -> torch.Generator:
        return generator(seed, phase, purpose, step, epoch)

    offsets = 2 * settings.crop_padding + 1
    flip = torch.rand(images, generator=stream("flip")) < 0.5
    spread = 2 * torch.rand(images, generator=stream("brightness")) - 1
    operations = torch.empty(images, 0, dtype=torch.int64)
    if settings.policy is not None:
        from der.train.policies import draw_operations  # torchvision takes a second

        operations = draw_operations(settings.policy, images, stream("policy"))
    return Draws(
        order=torch.randperm(images, generator=stream("batch order")),
        box=draw_boxes(images, settings.resized_crop or [1.0, 1.0], stream("resized crop")),
        top=torch.randint(offsets, (images,), generator=stream("crop top")),
        left=torch.randint(offsets, (images,), generator=stream("crop left")),
        flip=flip if settings.horizontal_flip else torch.zeros_like(flip),
        brightness=1 + settings.brightness * spread,
        operations=operations,
        hole=torch.rand(images, 2 if settings.cutout else 0, generator=stream("cutout")),
        mix=draw_mixes(images, settings.cutmix, stream("cutmix")),
    )


def draw_boxes(images: int, area: list[float], stream: torch.Generator) -> Tensor:
    """Draw boxes (N, 4) with a random fraction of the area and an aspect ratio from 3/4 to 4/3.

    It is like torchvision's RandomResizedCrop, but it cuts a side that would leave the image instead of
    drawing it again, and pixels beside the box count at its edge.
    """
    fraction, aspect, top, left = torch.rand(4, images, generator=stream)
    fraction = area[0] + (area[1] - area[0]) * fraction
    ratio = (4 / 3) ** ((2 * aspect - 1) / 2)  # the square root of width over height
    if area[0] == 1:
        ratio = torch.ones_like(ratio)
    height, width = (fraction.sqrt() / ratio).clamp(max=1), (fraction.sqrt() * ratio).clamp(max=1)
    return torch.stack([height, width, top * (1 - height), left * (1 - width)], dim=1)


def draw_mixes(images: int, alpha: float, stream: torch.Generator) -> Tensor:
    """Draw CutMix's lambda and the middle of its box, float32 (N, 3); (N, 0) if ``alpha`` is 0."""
    if not alpha:
        return torch.empty(images, 0)
    middle = torch.rand(images, 2, generator=stream)
    seed = int(torch.randint(2**32, (), generator=stream))
    shares = np.random.RandomState(seed).beta(alpha, alpha, images)  # torch's own takes no generator
    return torch.cat([torch.from_numpy(shares).float()[:, None], middle], dim=1)


def augment(images_BHWC: Tensor, draws: Draws, settings: AugmentationSettings) -> Tensor:
    """Crop, flip and change the brightness of bytes (B, H, W, C); returns bytes (B, C, H, W).

    Equal to torchvision's RandomResizedCrop, RandomCrop(H, padding), RandomHorizontalFlip and
    ColorJitter(brightness), in this order, on PIL images.
    """
    _, height, width, _ = images_BHWC.shape
    pad = settings.crop_padding
    if settings.resized_crop is not None:
        images_BHWC = resize_crops(images_BHWC.permute(0, 3, 1, 2), draws.box).permute(0, 2, 3, 1)
    if pad:
        padded = F.pad(images_BHWC, (0, 0, pad, pad, pad, pad))
        windows = padded.unfold(1, height, 1).unfold(2, width, 1)  # every crop, as a view
        rows = torch.arange(len(images_BHWC), device=images_BHWC.device)
        images = windows[rows, draws.top, draws.left]
    else:
        images = images_BHWC.permute(0, 3, 1, 2)
    if settings.horizontal_flip:
        images = torch.where(draws.flip[:, None, None, None], images.flip(3), images)
    if settings.brightness:
        # Truncation, not rounding: Pillow's blend casts to bytes.
        images = (images * draws.brightness[:, None, None, None]).clamp(0, 255).to(torch.uint8)
    return images


def resize_crops(images_BCHW: Tensor, box_B4: Tensor) -> Tensor:
    """Resize the boxes of bytes (B, C, H, W) to the full size, bilinearly."""
    if not len(images_BCHW):  # of a batch with fewer images than ranks; affine_grid takes some
        return images_BCHW
    height, width, top, left = box_B4.unbind(1)
    nothing = torch.zeros_like(height)
    # Pixels of the result, in [-1, 1], to places in the image.
    affine = torch.stack([width, nothing, 2 * left + width - 1, nothing, height, 2 * top + height - 1], dim=1)
    grid = F.affine_grid(affine.view(-1, 2, 3), list(images_BCHW.shape), align_corners=False)
    crops = F.grid_sample(images_BCHW.float(), grid, "bilinear", "border", align_corners=False)
    return crops.round().to(torch.uint8)


def cut_out(inputs_BCHW: Tensor, hole_B2: Tensor, size: int) -> Tensor:
    """Set a square of normalised images to 0, the mean colour (DeVries, Taylor 2017, section 3.2).

    Its middle is any pixel, so a part of it may lie outside the image.
    """
    side = inputs_BCHW.shape[3]
    first_B2 = (hole_B2 * side).long() - size // 2
    from_first_B2S = torch.arange(side, device=inputs_BCHW.device) - first_B2[:, :, None]
    inside_B2S = (from_first_B2S >= 0) & (from_first_B2S < size)
    return inputs_BCHW.masked_fill((inside_B2S[:, 0, :, None] & inside_B2S[:, 1, None])[:, None], 0)


def cut_and_mix(
    inputs_VCHW: Tensor, classes_VK: Tensor, sizes: list[int], mixes: list[list[float]]
) -> tuple[Tensor, Tensor]:
    """Put a box of the image before into every image of a batch (CutMix: Yun et al. 2019, section 3.1).

    Equal to torchvision's v2.CutMix: one box serves a batch, what lies outside the image is cut off, and each
    of the K classes gets its share of the pixels. V is W and, for each shard, the image before its first.
    """
    side, longer = inputs_VCHW.shape[3], [size + 1 for size in sizes]
    mixed, shares = [], []
    columns = zip(inputs_VCHW.split(longer), classes_VK.split(longer), mixes, strict=True)
    for images_BCHW, classes_BK, (share, *middle) in columns:
        half = int(0.5 * math.sqrt(1 - share) * side)
        (top, bottom), (left, right) = (
            (max(int(at * side) - half, 0), min(int(at * side) + half, side)) for at in middle
        )
        mixed.append(images_BCHW[1:].clone())
        mixed[-1][..., top:bottom, left:right] = images_BCHW[:-1, :, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / side**2
        shares.append(kept * classes_BK[1:] + (1 - kept) * classes_BK[:-1])
    return torch.cat(mixed), torch.cat(shares)


class Batch(NamedTuple):
    """The inputs of one step of gradient descent on the device; with several ranks, this rank's shard."""

    images_BCHW: Tensor  # normalised, channels last, in the feed's precision
    frozen_BP: Tensor  # features of the frozen extractors, float32
    labels_B: Tensor  # int64; with CutMix float32 (B, classes), the share that each class has of an image
    weight: Tensor  # float32 scalar, this rank's fraction of the whole batch's images
    whole: int  # number of images of the whole batch


class Feed:
    """Turns an epoch's draws into batches of augmented images and the features of frozen extractors.

    Frozen extractors in evaluation mode process each image alone. So their features are computed for a
    window of several batches at once, with folded batch normalisation, before training on these batches.
    """

    def __init__(
        self,
        images: TrainingImages,
        frozen: Sequence[Extractor],
        normalization: Normalization,
        augmentation: AugmentationSettings,
        precision: torch.dtype,
        device: torch.device,
        trunk: nn.Module | None = None,
    ) -> None:
        self.device, self.precision = device, precision
        self.frozen = [place_folded(extractor, device, precision) for extractor in frozen]
        self.trunk = None if trunk is None else place_folded(trunk, device, precision)
        self.normalize = Normalize(normalization).to(device)
        self.augmentation = augmentation
        self.operations = None
        if augmentation.policy is not None:
            from der.train.policies import Operations

            self.operations = Operations(augmentation.policy, images.side, device)
        self.pixels, self.labels = images.pixels, torch.from_numpy(images.labels).to(device)
        self.classes = int(images.labels.max()) + 1  # seen: a step has images of all
        self.resident: Tensor | None = None  # all images on the device, if they fit there
        if fits(images.pixels, device):
            chunks = [torch.from_numpy(chunk).to(device) for chunk in images.pixels.chunks()]
            self.resident = torch.cat(chunks)

    def batches(self, draws: Draws, size: int) -> Iterator[Batch]:
        """Yield every image once, in the order of ``draws``, ``size`` per batch; the last may be smaller."""
        for inputs_WCHW, labels_W, sizes, wholes in self._windows(draws, size):
            frozen_WP = self._frozen_features(inputs_WCHW)
            columns = (values.split(sizes) for values in (inputs_WCHW, frozen_WP, labels_W))
            shares = [own / whole for own, whole in zip(sizes, wholes, strict=True)]
            weights = torch.tensor(shares, device=self.device)
            yield from map(Batch._make, zip(*columns, weights, wholes, strict=True))

    def inputs(self, draws: Draws, size: int) -> Iterator[tuple[Tensor, int]]:
        """Yield only the images (B, C, H, W) of ``batches``, with the size of the whole batch."""
        for inputs_WCHW, _, sizes, wholes in self._windows(draws, size):
            yield from zip(inputs_WCHW.split(sizes), wholes, strict=True)

    def _windows(self, draws: Draws, size: int) -> Iterator[tuple[Tensor, Tensor, list[int], list[int]]]:
        """Yield inputs (W, C, H, W), labels (W,) and both sizes of this rank's shards of several batches."""
        window = max(1, WINDOW_VALUES // (math.prod(self.pixels.shape) * size)) * size
        starts = range(0, len(draws.order), window)
        mixing = self.augmentation.cutmix > 0
        parts = [take_shards(draws[start : start + window], size, int(mixing)) for start in starts]
        images = self._images([own.order for own, *_ in parts])
        for start, (own, sizes, wholes), images_WHWC in zip(starts, parts, images, strict=True):
            placed = own.to(self.device)
            inputs, labels = self._prepare(images_WHWC, placed, own.operations), self.labels[placed.order]
            if mixing:
                classes = F.one_hot(labels, self.classes).float()
                mixes = draws.mix[start : start + window : size].tolist()
                inputs, labels = cut_and_mix(inputs, classes, sizes, mixes)
            yield inputs, labels, sizes, wholes

    def _images(self, orders: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield images (W, H, W, C) uint8 on the device: from its memory if all fit, else read one by one."""
        if self.resident is not None:
            yield from (self.resident[upload(order_W, self.device)] for order_W in orders)
        else:
            for images_WHWC in self.pixels.stream(order_W.numpy() for order_W in orders):
                yield upload(torch.from_numpy(images_WHWC), self.device)

    @torch.no_grad()
    def _prepare(self, images_WHWC: Tensor, draws: Draws, operations_WK: Tensor) -> Tensor:
        images_WCHW = augment(images_WHWC, draws, self.augmentation)
        if self.operations is not None:
            images_WCHW = self.operations(images_WCHW, operations_WK)
        inputs_WCHW: Tensor = self.normalize(images_WCHW)
        if self.augmentation.cutout:
            inputs_WCHW = cut_out(inputs_WCHW, draws.hole, self.augmentation.cutout)
        inputs_WCHW = inputs_WCHW.to(self.precision).contiguous(memory_format=torch.channels_last)
        return inputs_WCHW if self.trunk is None else self.trunk(inputs_WCHW)

    @torch.no_grad()
    def _frozen_features(self, inputs_WCHW: Tensor) -> Tensor:
        if not self.frozen:
            return torch.empty(len(inputs_WCHW), 0, device=self.device)
        return torch.cat([extractor(inputs_WCHW) for extractor in self.frozen], dim=1)


def take_shards(draws: Draws, size: int, before: int) -> tuple[Draws, list[int], list[int]]:
    """Return this rank's shards of batches of ``size`` images (the last may be smaller), and both sizes.

    Each shard begins with the ``before`` images that stand before it in the batch, as if that were a circle.
    """
    starts = range(0, len(draws.order), size)
    wholes = [min(size, len(draws.order) - start) for start in starts]
    slices = [distributed.shard(whole) for whole in wholes]
    rows = zip(starts, wholes, slices, strict=True)
    places = [at + torch.arange(own.start - before, own.stop) % whole for at, whole, own in rows]
    return draws[torch.cat(places)], [own.stop - own.start for own in slices], wholes


def fits(images: ImageRows, device: torch.device) -> bool:
    """Tell whether all images fit into a quarter of a GPU's free memory, or 1 GB if torch cannot tell."""
    if device.type == "cpu":
        return False
    room = torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 2**30
    return len(images) * math.prod(images.shape) <= room
