"""Augmentation, byte for byte against torchvision on PIL images with the same draws."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as TF

from der.settings.training import AugmentationSettings
from der.train.batches import Draws, augment, draw_boxes, draw_epoch, resize_crops
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


NAMES = ("order", "box", "top", "left", "flip", "brightness")


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
    draws = draws_of(20_000, augmentation_settings(resized_crop=[0.2, 0.6], crop_padding=3))
    boxes = draws.box.double()
    share, aspect = boxes[:, 0] * boxes[:, 1], boxes[:, 1] / boxes[:, 0]
    places = [boxes[:, 2] / (1 - boxes[:, 0]), boxes[:, 3] / (1 - boxes[:, 1])]
    others = [getattr(draws, name).double() for name in NAMES if name != "box"]
    table = torch.stack([share, aspect, *places, *others])
    correlations = torch.corrcoef(table) - torch.eye(len(table))
    assert correlations.abs().max() < 0.03


def test_the_same_arguments_give_the_same_draws() -> None:
    settings = augmentation_settings(resized_crop=[0.1, 1.0])
    assert equal(draws_of(500, settings, 1, 2, 3), draws_of(500, settings, 1, 2, 3)) == set(NAMES)


@pytest.mark.parametrize("changed", [{"seed": 9}, {"step": 9}, {"epoch": 9}], ids=str)
def test_every_epoch_step_and_seed_has_its_own_draws(changed: dict[str, int]) -> None:
    settings = augmentation_settings(resized_crop=[0.1, 1.0], crop_padding=4)
    plain = {"seed": 1, "step": 2, "epoch": 3}
    assert equal(draws_of(500, settings, **plain), draws_of(500, settings, **plain | changed)) == set()


def test_every_phase_has_its_own_draws() -> None:
    settings = augmentation_settings(resized_crop=[0.1, 1.0], crop_padding=4)
    assert equal(draw_epoch(500, settings, 0, "a", 1, 0), draw_epoch(500, settings, 0, "b", 1, 0)) == set()


def test_step_and_epoch_are_not_interchangeable() -> None:
    settings = augmentation_settings(resized_crop=[0.1, 1.0], crop_padding=4)
    assert equal(draws_of(500, settings, step=1, epoch=2), draws_of(500, settings, step=2, epoch=1)) == set()
    assert (
        equal(draws_of(500, settings, step=1, epoch=11), draws_of(500, settings, step=11, epoch=1)) == set()
    )


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"resized_crop": None}, {"box"}),
        ({"crop_padding": 0}, {"top", "left"}),
        ({"horizontal_flip": False}, {"flip"}),
        ({"brightness": 0.0}, {"brightness"}),
    ],
    ids=["resized crop", "crop", "flip", "brightness"],  # a set's text differs between test processes
)
def test_switching_one_kind_off_moves_no_other(changes: dict[str, Any], moved: set[str]) -> None:
    everything: dict[str, Any] = {"resized_crop": [0.1, 1.0]}
    plain = draws_of(500, augmentation_settings(**everything))
    without = draws_of(500, augmentation_settings(**everything | changes))
    assert equal(plain, without) == set(NAMES) - moved
    assert torch.equal(without.box, whole_boxes(500)) or "box" not in moved
    assert not without.top.any() or "top" not in moved
    assert not without.flip.any() or "flip" not in moved
    assert without.brightness.eq(1).all() or "brightness" not in moved


def test_a_part_of_the_draws() -> None:
    draws = draws_of(20, augmentation_settings())
    part = draws[5:9]
    for name in NAMES:
        assert torch.equal(getattr(part, name), getattr(draws, name)[5:9])


def test_a_crop_of_the_whole_changes_nothing() -> None:
    images = torch.from_numpy(noise(64, 9, 9, 3))
    for crop in (None, [1.0, 1.0]):
        settings = augmentation_settings(**OFF | {"resized_crop": crop})
        draws = draws_of(64, settings)
        assert torch.equal(draws.box, whole_boxes(64))
        assert torch.equal(augment(images, draws, settings), images.permute(0, 3, 1, 2))


@pytest.mark.parametrize("side", [16, 37])
def test_a_resized_crop_is_torchvision_s(side: int) -> None:
    """Away from the edges of the box, where torchvision repeats pixels and we go on into the image."""
    images = torch.from_numpy(noise(60, side, side, 3)).permute(0, 3, 1, 2).contiguous()
    rng = np.random.RandomState(0)
    for image in images:
        height, width = (int(one) for one in rng.randint(2, side + 1, 2))
        top, left = int(rng.randint(side - height + 1)), int(rng.randint(side - width + 1))
        box = torch.tensor([[height, width, top, left]]) / side
        ours = resize_crops(image[None], box)[0]
        theirs = TF.resized_crop(image, top, left, height, width, [side, side], antialias=False)
        inside = [
            (place >= 0) & (place <= length - 1)
            for length in (height, width)
            for place in [(np.arange(side) + 0.5) * length / side - 0.5]
        ]
        region = np.ix_([True] * 3, *inside)
        difference = np.abs(ours.numpy().astype(int) - theirs.numpy().astype(int))
        assert difference[region].max(initial=0) <= 1
        whole = [length == side for length in (height, width)]
        if all(whole):
            assert difference.max() == 0


def test_at_the_edges_of_the_image_a_resized_crop_repeats_them() -> None:
    images = torch.from_numpy(noise(20, 12, 12, 1)).permute(0, 3, 1, 2)
    ours = resize_crops(images, torch.tensor([[0.5, 1.0, 0.0, 0.0]]).repeat(20, 1))
    theirs = TF.resized_crop(images, 0, 0, 6, 12, [12, 12], antialias=False)
    assert (ours[:, :, :11].int() - theirs[:, :, :11].int()).abs().max() <= 1


@pytest.mark.parametrize("area", [[0.08, 1.0], [0.3, 0.3], [0.9, 1.0]])
def test_boxes_keep_to_their_area_and_aspect(area: list[float]) -> None:
    height, width, top, left = draw_boxes(20_000, area, torch.Generator().manual_seed(0)).unbind(1)
    for start, length in ((top, height), (left, width)):
        assert length.min() > 0 and length.max() <= 1
        assert start.min() >= 0 and (start + length).max() <= 1 + 1e-6
    share, aspect = height * width, width / height
    assert share.max() <= area[1] + 1e-5
    cut = (height == 1) | (width == 1)
    assert share[~cut].min() >= area[0] - 1e-5
    assert aspect.min() >= 3 / 4 - 1e-5 and aspect.max() <= 4 / 3 + 1e-5
    if area[1] < 0.5:
        assert not cut.any()
        torch.testing.assert_close(share, torch.full_like(share, 0.3))
        assert abs(aspect.log().mean()) < 0.005  # as likely wide as high
        quarters = torch.histc(aspect.log(), 4, math.log(3 / 4), math.log(4 / 3)) / 5000
        assert (quarters - 1).abs().max() < 0.06
        for start, length in ((top, height), (left, width)):
            assert (torch.histc(start / (1 - length), 4, 0, 1) / 5000 - 1).abs().max() < 0.06
