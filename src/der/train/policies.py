"""Policies of augmentation on batches of bytes, with the pixels of torchvision's classes.

AutoAugment's policy for CIFAR-10 (Cubuk et al. 2019, "AutoAugment", appendix) and the wide space of
TrivialAugment (Müller, Hutter 2021). An operation at one of its magnitudes, with its sign, has a number.
Operations that move pixels, or map each byte to another, are tables that torchvision fills once. The others
take a magnitude of each image's own. So a batch needs a few calls, however many numbers its images drew.
Without a policy neither this module nor torchvision is imported.

# N and B images, C channels, H and W pixels, K operations of an image in turn, V numbers of operations
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy  # type: ignore[import-untyped]
from torchvision.transforms.v2 import functional as TF  # type: ignore[import-untyped]

from der.core.device import upload
from der.settings.sections import Policy


def slope(by: float) -> float:
    """Return the angle of a shear in degrees."""
    return math.degrees(math.atan(by))


# Functions of an image and a magnitude.
Function = Callable[[Tensor, float], Tensor]
MOVES: dict[str, Function] = {
    "ShearX": lambda image, by: TF.affine(image, 0.0, [0, 0], 1.0, [slope(by), 0.0], center=[0, 0]),
    "ShearY": lambda image, by: TF.affine(image, 0.0, [0, 0], 1.0, [0.0, slope(by)], center=[0, 0]),
    "TranslateX": lambda image, by: TF.affine(image, 0.0, [int(by), 0], 1.0, [0.0, 0.0]),
    "TranslateY": lambda image, by: TF.affine(image, 0.0, [0, int(by)], 1.0, [0.0, 0.0]),
    "Rotate": TF.rotate,
}
MAPS: dict[str, Function] = {  # of single bytes
    "Brightness": lambda image, by: TF.adjust_brightness(image, 1 + by),
    "Posterize": lambda image, bits: TF.posterize(image, int(bits)),
    "Solarize": TF.solarize,
    "Invert": lambda image, _: TF.invert(image),
}
OPERATIONS = (*MOVES, *MAPS, "Color", "Contrast", "Sharpness", "AutoContrast", "Equalize", "Identity")
LEVELS: dict[Policy, int] = {"autoaugment": 10, "trivial": 31}  # of every magnitude


def draw_operations(policy: Policy, images: int, stream: torch.Generator) -> Tensor:
    """Draw numbers of operations, int64 (N, K); K is 2 for AutoAugment, 1 for TrivialAugment."""
    if policy == "trivial":
        known = torch.tensor([OPERATIONS.index(name) for name in OPERATIONS if name != "Invert"])
        operations = known[torch.randint(len(known), (images, 1), generator=stream)]
        levels = torch.randint(LEVELS[policy], (images, 1), generator=stream)
    else:
        listed = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
        pairs = [[(OPERATIONS.index(name), share, at or 0) for name, share, at in pair] for pair in listed]
        drawn = torch.tensor(pairs)[torch.randint(len(pairs), (images,), generator=stream)]
        left_out = torch.rand(images, 2, generator=stream) >= drawn[..., 1]
        operations = drawn[..., 0].long().masked_fill(left_out, OPERATIONS.index("Identity"))
        levels = drawn[..., 2].long()
    signs = torch.randint(2, operations.shape, generator=stream)
    return (operations * LEVELS[policy] + levels) * 2 + signs


def magnitudes(policy: Policy, side: int) -> Tensor:
    """Return magnitudes for images of ``side`` pixels, float64 (operations, levels, 2), the last negative."""
    levels = LEVELS[policy]
    if policy == "autoaugment":
        shear, shift, turn, factor, bits = 0.3, 150.0 / 331.0 * side, 30.0, 0.9, 4
    else:
        shear, shift, turn, factor, bits = 0.99, 32.0, 135.0, 0.99, 6
    largest = dict.fromkeys(OPERATIONS, 0.0) | {"ShearX": shear, "ShearY": shear, "Rotate": turn}
    largest |= {"TranslateX": shift, "TranslateY": shift}
    largest |= dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), factor)
    rising = torch.stack([torch.linspace(0, largest[name], levels) for name in OPERATIONS]).double()
    values = torch.stack([rising, -rising], dim=2)
    # These have no sign.
    kept_bits = 8 - (torch.arange(levels) * bits / (levels - 1)).round()
    values[OPERATIONS.index("Posterize")] = kept_bits[:, None].double()
    values[OPERATIONS.index("Solarize")] = 255 * torch.linspace(1, 0, levels)[:, None].double()
    return values


class Operations:
    """The operations of ``policy`` on images of ``side`` pixels on ``device``."""

    def __init__(self, policy: Policy, side: int, device: torch.device) -> None:
        self.device = device
        self.numbers = 2 * LEVELS[policy]  # of an operation
        values = magnitudes(policy, side)
        factors = 1 + values.flatten()
        self.factors = factors.float().to(device)  # of an image
        self.complements = (1 - factors).float().to(device)  # of what it is blended with

        def table(makers: dict[str, Function], image: Tensor) -> Tensor:
            rows = [
                make(image, value)
                for name, make in makers.items()
                for value in values[OPERATIONS.index(name)].flatten().tolist()
            ]
            return torch.stack(rows).flatten(1).to(device)

        # Of an image whose pixels are their places from 1 on; 0 is then what lies outside.
        self.places = table(MOVES, torch.arange(1.0, side**2 + 1).view(1, side, side)).int()
        self.bytes = table(MAPS, torch.arange(256, dtype=torch.uint8).view(1, 16, 16))
        self.functions: list[Callable[[Tensor, Tensor], Tensor]] = [
            *(self._move, self._map, self._color, self._contrast, self._sharpen),
            *(lambda images, _: TF.autocontrast(images), lambda images, _: TF.equalize(images)),
        ]
        # Of each operation; Identity has none.
        self.function = torch.tensor([0] * len(MOVES) + [1] * len(MAPS) + [2, 3, 4, 5, 6, 7])

    def __call__(self, images_BCHW: Tensor, numbers_BK: Tensor) -> Tensor:
        """Put each image of bytes through its operations in turn; the numbers are on the processor."""
        images_BCHW = images_BCHW.clone(memory_format=torch.contiguous_format)
        for numbers_B in numbers_BK.unbind(1):
            functions_B = self.function[numbers_B // self.numbers]
            for index, function in enumerate(self.functions):
                rows = torch.nonzero(functions_B == index)[:, 0]
                if len(rows):
                    places = upload(rows, self.device)
                    images = function(images_BCHW[places], upload(numbers_B[rows], self.device))
                    images_BCHW[places] = images
        return images_BCHW

    def _move(self, images_BCHW: Tensor, numbers_B: Tensor) -> Tensor:
        flat = F.pad(images_BCHW.flatten(2), (1, 0))
        places = self.places[numbers_B].long()[:, None].expand(-1, flat.shape[1], -1)
        return flat.gather(2, places).view_as(images_BCHW)

    def _map(self, images_BCHW: Tensor, numbers_B: Tensor) -> Tensor:
        table = self.bytes[numbers_B - len(MOVES) * self.numbers]
        return table.gather(1, images_BCHW.flatten(1).long()).view_as(images_BCHW)

    def _color(self, images_BCHW: Tensor, numbers_B: Tensor) -> Tensor:
        grey = images_BCHW.shape[1] == 1
        return images_BCHW if grey else self._blend(images_BCHW, TF.rgb_to_grayscale(images_BCHW), numbers_B)

    def _contrast(self, images_BCHW: Tensor, numbers_B: Tensor) -> Tensor:
        mean = TF.rgb_to_grayscale(images_BCHW).float().mean((1, 2, 3), keepdim=True)
        return self._blend(images_BCHW, mean, numbers_B)

    def _blend(self, images_BCHW: Tensor, others: Tensor, numbers_B: Tensor) -> Tensor:
        images = images_BCHW * self.factors[numbers_B, None, None, None]
        # Rounds as torchvision's add with a factor does: where a product and a sum are one operation, once.
        return to_bytes(torch.addcmul(images, others, self.complements[numbers_B, None, None, None]))

    def _sharpen(self, images_BCHW: Tensor, numbers_B: Tensor) -> Tensor:
        images = images_BCHW.float()
        inner = images[..., 1:-1, 1:-1]
        rows = images[..., :-2, :] + images[..., 1:-1, :] + images[..., 2:, :]
        blurred = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner).div(13).round()
        inner.addcmul_(blurred - inner, self.complements[numbers_B, None, None, None])
        return to_bytes(images)


def to_bytes(values: Tensor) -> Tensor:
    return values.clamp(0, 255).to(torch.uint8)
