"""Random changes of training images, batched and on the device, equal to torchvision's on 8-bit pixels.

# N images of an epoch, B batch, H and W pixels, C channels
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from der.core.randomness import generator
from der.settings.training import AugmentationSettings
from der.train.training_images import upload


@dataclass(frozen=True)
class Draws:
    """One epoch's random choices, in the order in which the images are visited; tensors of length N."""

    order: Tensor  # int64, which image
    box: Tensor  # float32 (N, 4), the resized crop: height, width, top and left, as fractions of the side
    top: Tensor  # int64, rows the crop window is moved down in the padded image
    left: Tensor  # int64, likewise columns
    flip: Tensor  # bool
    brightness: Tensor  # float32, factor

    def to(self, device: torch.device) -> "Draws":
        """The same draws on ``device``."""
        return Draws(*(upload(getattr(self, name), device) for name in self.__dataclass_fields__))

    def __getitem__(self, part: slice | Tensor) -> "Draws":
        """The draws of a stretch of the epoch, or of the places that a tensor names."""
        return Draws(*(getattr(self, name)[part] for name in self.__dataclass_fields__))


def draw_epoch(
    images: int, settings: AugmentationSettings, seed: int, phase: str, step: int, epoch: int
) -> Draws:
    """The draws of one epoch of a phase: a pure function of the arguments, on the CPU."""

    def stream(purpose: str) -> torch.Generator:
        return generator(seed, phase, purpose, step, epoch)

    offsets = 2 * settings.crop_padding + 1
    flip = torch.rand(images, generator=stream("flip")) < 0.5
    spread = 2 * torch.rand(images, generator=stream("brightness")) - 1
    return Draws(
        order=torch.randperm(images, generator=stream("batch order")),
        box=draw_boxes(images, settings.resized_crop or [1.0, 1.0], stream("resized crop")),
        top=torch.randint(offsets, (images,), generator=stream("crop top")),
        left=torch.randint(offsets, (images,), generator=stream("crop left")),
        flip=flip if settings.horizontal_flip else torch.zeros_like(flip),
        brightness=1 + settings.brightness * spread,
    )


def draw_boxes(images: int, area: list[float], stream: torch.Generator) -> Tensor:
    """Boxes (N, 4) of a random share of the area within bounds, and a random aspect ratio of 3/4 to 4/3.

    As torchvision's RandomResizedCrop, but a side that would leave the image is cut, not drawn again, and
    pixels beside the box count at its edge.
    """
    share, aspect, top, left = torch.rand(4, images, generator=stream)
    share = area[0] + (area[1] - area[0]) * share
    ratio = (4 / 3) ** ((2 * aspect - 1) / 2)  # the square root of width over height
    if area[0] == 1:
        ratio = torch.ones_like(ratio)
    height = (share.sqrt() / ratio).clamp(max=1)
    width = (share.sqrt() * ratio).clamp(max=1)
    return torch.stack([height, width, top * (1 - height), left * (1 - width)], dim=1)


def resize_crops(images_BCHW: Tensor, box_B4: Tensor) -> Tensor:
    """Bring the boxes of bytes (B, C, H, W) to the size of the whole, bilinearly."""
    if not len(images_BCHW):  # of a batch with fewer images than ranks; affine_grid takes some
        return images_BCHW
    height, width, top, left = box_B4.unbind(1)
    nothing = torch.zeros_like(height)
    # Pixels of the result, in [-1, 1], to places in the image.
    affine = torch.stack([width, nothing, 2 * left + width - 1, nothing, height, 2 * top + height - 1], dim=1)
    grid = F.affine_grid(affine.view(-1, 2, 3), list(images_BCHW.shape), align_corners=False)
    crops = F.grid_sample(images_BCHW.float(), grid, "bilinear", "border", align_corners=False)
    return crops.round().to(torch.uint8)


def augment(images_BHWC: Tensor, draws: Draws, settings: AugmentationSettings) -> Tensor:
    """Crop, flip and change the brightness of bytes (B, H, W, C); returns bytes (B, C, H, W).

    As RandomResizedCrop, RandomCrop(H, padding), RandomHorizontalFlip and ColorJitter(brightness), in this
    order, on PIL images.
    """
    _, height, width, _ = images_BHWC.shape
    pad = settings.crop_padding
    if settings.resized_crop is not None:
        images_BHWC = resize_crops(images_BHWC.permute(0, 3, 1, 2), draws.box).permute(0, 2, 3, 1)
    images = images_BHWC
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
        brighter = (images * draws.brightness[:, None, None, None]).clamp(0, 255)
        images = brighter.to(torch.uint8)
    return images
