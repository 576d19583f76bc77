"""Policies of augmentation and Cutout: torchvision's pixels, image by image, and draws as published."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, v2

from der.settings.sections import Policy
from der.train import batches as batch_module
from der.train.batches import Feed, augment, cut_out
from der.train.policies import LEVELS, OPERATIONS, Operations, draw_operations
from tests.builders import CPU, NORMALIZATION, augmentation_settings, draws_of, training_images

CLASSES: dict[Policy, Any] = {
    "autoaugment": v2.AutoAugment(AutoAugmentPolicy.CIFAR10),
    "trivial": v2.TrivialAugmentWide(),
}
POLICIES = pytest.mark.parametrize("policy", CLASSES)


def pictures(count: int, channels: int, side: int) -> Tensor:
    """Noise, pictures of few values, and plain ones."""
    images = torch.randint(0, 256, (count, channels, side, side), generator=torch.Generator().manual_seed(0))
    images[::3] = images[::3] // 3 + 60
    images[::7] = images[::7, :1, :1, :1]
    return images.to(torch.uint8)


def by_torchvision(policy: Policy, image: Tensor, number: int) -> Tensor:
    """The image after the operation of that number."""
    transform, (rest, negative) = CLASSES[policy], divmod(number, 2)
    index, level = divmod(rest, LEVELS[policy])
    if (name := OPERATIONS[index]) == "Identity":
        return image
    values_of, signed = transform._AUGMENTATION_SPACE[name]
    values = values_of(LEVELS[policy], *image.shape[1:])
    value = 0.0 if values is None else float(values[level]) * (-1 if signed and negative else 1)
    return transform._apply_image_or_video_transform(image, name, value, "nearest", transform._fill)


def numbers_of(policy: Policy) -> Tensor:
    """All that the policy has: operations at every level, with both signs."""
    known = [OPERATIONS.index(name) for name in CLASSES[policy]._AUGMENTATION_SPACE]
    return (torch.tensor(known)[:, None] * 2 * LEVELS[policy] + torch.arange(2 * LEVELS[policy])).flatten()


@pytest.mark.parametrize("side", [8, 32, 33])
@pytest.mark.parametrize("channels", [1, 3])
@POLICIES
def test_every_operation_at_every_magnitude_is_torchvision_s(
    policy: Policy, channels: int, side: int
) -> None:
    numbers = numbers_of(policy)
    images = pictures(len(numbers), channels, side)
    ours = Operations(policy, side, CPU)(images, numbers[:, None])
    for image, number, found in zip(images, numbers.tolist(), ours, strict=True):
        expected = by_torchvision(policy, image, number)
        assert torch.equal(found, expected), (OPERATIONS[number // 2 // LEVELS[policy]], number)


def count(policy: Policy) -> dict[tuple[Any, ...], float]:
    """How often an image draws which operations, without signs."""
    numbers = draw_operations(policy, 200_000, torch.Generator().manual_seed(0))
    drawn, counts = (numbers // 2).unique(dim=0, return_counts=True)
    names = [
        [(OPERATIONS[one // LEVELS[policy]], one % LEVELS[policy]) for one in row] for row in drawn.tolist()
    ]
    share = (numbers % 2).float().mean(0)
    assert (share - 0.5).abs().max() < 0.01
    return {tuple(row): float(times) / len(numbers) for row, times in zip(names, counts, strict=True)}


def test_autoaugment_draws_each_pair_with_the_published_probabilities() -> None:
    expected: dict[tuple[Any, ...], float] = {}
    for pair in AutoAugment(AutoAugmentPolicy.CIFAR10).policies:
        p, q = (share for _, share, _ in pair)
        with_levels = [(name, level or 0) for name, _, level in pair]
        for takes in np.ndindex(2, 2):
            chance = (p if takes[0] else 1 - p) * (q if takes[1] else 1 - q) / 25
            made = tuple(one if takes[at] else ("Identity", one[1]) for at, one in enumerate(with_levels))
            expected[made] = expected.get(made, 0) + chance
    found = count("autoaugment")
    assert set(found) == {made for made, chance in expected.items() if chance > 0}
    assert max(abs(found.get(made, 0) - chance) for made, chance in expected.items()) < 0.002


def test_trivialaugment_draws_all_alike() -> None:
    found = count("trivial")
    names = CLASSES["trivial"]._AUGMENTATION_SPACE
    assert set(found) == {((name, level),) for name in names for level in range(31)}
    assert max(abs(share * 14 * 31 - 1) for share in found.values()) < 0.25


@pytest.mark.parametrize("window", [1, 2048 * 3 * 32 * 32])
@POLICIES
def test_batches_hold_the_cropped_images_after_the_policy(
    policy: Policy, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "WINDOW_VALUES", window)
    settings = augmentation_settings(policy=policy, cutout=3)
    images, draws = training_images(1, [30, 20]), draws_of(50, settings, epoch=3)
    feed = Feed(images, [], NORMALIZATION, settings, torch.float32, CPU)
    found = torch.cat([batch.images_BCHW for batch in feed.batches(draws, 8)])
    cropped = augment(torch.from_numpy(images.pixels.copy())[draws.order], draws, settings)
    for row, image in enumerate(cropped):
        for number in draws.operations[row].tolist():
            image = by_torchvision(policy, image, number)
        expected = cut_out(feed.normalize(image[None]), draws.hole[row : row + 1], 3)[0]
        torch.testing.assert_close(found[row], expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [1, 4, 5, 40])
def test_cutout_zeroes_a_square_around_any_pixel(size: int) -> None:
    side = 6
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    found = cut_out(torch.ones(side**2, 2, side, side), (places + 0.5) / side, size)
    expected = torch.ones_like(found)
    for image, (row, column) in zip(expected, places.tolist(), strict=True):
        top, left = row - size // 2, column - size // 2
        image[:, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = 0
    assert torch.equal(found, expected)
