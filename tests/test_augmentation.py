"""Augmentation, byte for byte against torchvision on PIL images with the same draws."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as TF

from der.common.settings import AugmentationSettings
from der.train.augmentation import Draws, augment, draw_epoch
from tests.builders import augmentation_settings, draws_of

OFF: dict[str, Any] = {"resized_crop": None, "crop_padding": 0, "horizontal_flip": False, "brightness": 0.0}


def torchvision_on_pil(
    images: NDArray[np.uint8], draws: Draws, settings: AugmentationSettings
) -> NDArray[np.uint8]:
    """RandomCrop, RandomHorizontalFlip and ColorJitter(brightness) on one PIL image after the other."""
    _, height, width, channels = images.shape
    results = []
    for index, pixels in enumerate(images):
        image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
        if settings.crop_padding:
            image = TF.pad(image, [settings.crop_padding], fill=0)
            image = TF.crop(image, int(draws.top[index]), int(draws.left[index]), height, width)
        if settings.horizontal_flip and draws.flip[index]:
            image = TF.hflip(image)
        if settings.brightness:
            image = TF.adjust_brightness(image, float(draws.brightness[index]))
        results.append(np.array(image).reshape(height, width, channels))
    return np.stack(results)


def agree(images: NDArray[np.uint8], draws: Draws, settings: AugmentationSettings) -> None:
    result = augment(torch.from_numpy(images), draws, settings)
    assert result.dtype == torch.uint8
    np.testing.assert_array_equal(
        result.permute(0, 2, 3, 1).numpy(), torchvision_on_pil(images, draws, settings)
    )


def whole_boxes(count: int) -> Tensor:
    """Resized crops of all of the image."""
    return torch.tensor([[1.0, 1.0, 0.0, 0.0]]).repeat(count, 1)


def noise(count: int, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    return np.random.RandomState(0).randint(0, 256, (count, height, width, channels)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop_padding": 4, "brightness": 63 / 255},
        {"brightness": 1.0},
        {"crop_padding": 0},
        {"horizontal_flip": False},
        {"brightness": 0.0},
        {"crop_padding": 0, "horizontal_flip": False},
        OFF,
    ],
    ids=str,
)
def test_equal_to_torchvision(changes: dict[str, Any], channels: int) -> None:
    settings = augmentation_settings(**changes)
    agree(noise(1500, 6, 6, channels), draws_of(1500, settings), settings)


@pytest.mark.parametrize("padding", [0, 1, 9])
def test_images_need_not_be_square_and_may_be_smaller_than_their_padding(padding: int) -> None:
    settings = augmentation_settings(crop_padding=padding)
    agree(noise(200, 5, 8, 3), draws_of(200, settings), settings)


def test_every_byte_under_many_factors() -> None:
    settings = augmentation_settings(**OFF | {"brightness": 1.0})
    edges = [0.0, 1e-7, 0.5, 1 - 2**-24, 1.0, 1 + 2**-23, 1.5, 2.0]
    factors = torch.cat(
        [torch.tensor(edges), 2 * torch.rand(2000, generator=torch.Generator().manual_seed(0))]
    )
    every_byte = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(len(factors), axis=0)
    zeros = torch.zeros(len(factors), dtype=torch.int64)
    agree(every_byte, Draws(zeros, whole_boxes(len(factors)), zeros, zeros, zeros.bool(), factors), settings)


@pytest.mark.parametrize("corner", [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)])
def test_a_crop_by_hand(corner: tuple[int, int]) -> None:
    settings = augmentation_settings(**OFF | {"crop_padding": 2})
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    padded = np.zeros((7, 7), np.uint8)
    padded[2:5, 2:5] = image[0, :, :, 0]
    top, left = corner
    one = torch.ones(1)
    draws = Draws(torch.tensor([0]), whole_boxes(1), torch.tensor([top]), torch.tensor([left]), one < 0, one)
    result = augment(torch.from_numpy(image), draws, settings)
    np.testing.assert_array_equal(result[0, 0].numpy(), padded[top : top + 3, left : left + 3])


def test_the_images_are_left_as_they_were() -> None:
    images = torch.from_numpy(noise(50, 6, 6, 3))
    before = images.clone()
    settings = augmentation_settings(brightness=1.0)
    augment(images, draws_of(50, settings), settings)
    assert torch.equal(images, before)


NAMES = ("order", "top", "left", "flip", "brightness")


def equal(left: Draws, right: Draws) -> set[str]:
    """Names of the draws that are the same."""
    return {name for name in NAMES if torch.equal(getattr(left, name), getattr(right, name))}


def test_draws_lie_in_their_ranges_and_fill_them() -> None:
    draws = draws_of(20_000, augmentation_settings(crop_padding=3, brightness=0.25))
    assert torch.equal(draws.order.sort().values, torch.arange(20_000))
    for offsets in (draws.top, draws.left):
        counts = torch.bincount(offsets, minlength=7)
        assert len(counts) == 7
        assert (counts / (20_000 / 7) - 1).abs().max() < 0.1
    assert abs(draws.flip.float().mean() - 0.5) < 0.02
    assert 0.75 <= draws.brightness.min() < 0.751
    assert 1.249 < draws.brightness.max() <= 1.25
    assert abs(draws.brightness.mean() - 1) < 0.005


def test_draws_are_independent_of_each_other() -> None:
    draws = draws_of(20_000, augmentation_settings(crop_padding=3))
    table = torch.stack([getattr(draws, name).double() for name in NAMES])
    correlations = torch.corrcoef(table) - torch.eye(len(NAMES))
    assert correlations.abs().max() < 0.03


def test_the_same_arguments_give_the_same_draws() -> None:
    settings = augmentation_settings()
    assert equal(draws_of(500, settings, 1, 2, 3), draws_of(500, settings, 1, 2, 3)) == set(NAMES)


@pytest.mark.parametrize("changed", [{"seed": 9}, {"step": 9}, {"epoch": 9}], ids=str)
def test_every_epoch_step_and_seed_has_its_own_draws(changed: dict[str, int]) -> None:
    settings = augmentation_settings(crop_padding=4)
    plain = {"seed": 1, "step": 2, "epoch": 3}
    assert equal(draws_of(500, settings, **plain), draws_of(500, settings, **plain | changed)) == set()


def test_every_phase_has_its_own_draws() -> None:
    settings = augmentation_settings(crop_padding=4)
    assert equal(draw_epoch(500, settings, 0, "a", 1, 0), draw_epoch(500, settings, 0, "b", 1, 0)) == set()


def test_step_and_epoch_are_not_interchangeable() -> None:
    settings = augmentation_settings(crop_padding=4)
    assert equal(draws_of(500, settings, step=1, epoch=2), draws_of(500, settings, step=2, epoch=1)) == set()
    assert (
        equal(draws_of(500, settings, step=1, epoch=11), draws_of(500, settings, step=11, epoch=1)) == set()
    )


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"crop_padding": 0}, {"top", "left"}),
        ({"horizontal_flip": False}, {"flip"}),
        ({"brightness": 0.0}, {"brightness"}),
    ],
    ids=str,
)
def test_switching_one_kind_off_moves_no_other(changes: dict[str, Any], moved: set[str]) -> None:
    plain, without = draws_of(500, augmentation_settings()), draws_of(500, augmentation_settings(**changes))
    assert equal(plain, without) == set(NAMES) - moved
    assert not without.top.any() or "top" not in moved
    assert not without.flip.any() or "flip" not in moved
    assert without.brightness.eq(1).all() or "brightness" not in moved


def test_a_part_of_the_draws() -> None:
    draws = draws_of(20, augmentation_settings())
    part = draws[5:9]
    for name in NAMES:
        assert torch.equal(getattr(part, name), getattr(draws, name)[5:9])
