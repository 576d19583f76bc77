"""Policies of augmentation, Cutout and CutMix: torchvision's pixels, draws as published, mixed labels."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode, v2

from der.core import distributed
from der.settings.sections import DistillationSettings, Policy
from der.train import batches as batch_module
from der.train.batches import Feed, augment, cut_out
from der.train.objective import ClassifierObjective, Distillation
from der.train.policies import LEVELS, OPERATIONS, Operations, draw_operations
from tests.builders import (
    CPU,
    NORMALIZATION,
    augmentation_settings,
    build_objective,
    draws_of,
    random_network,
    training_images,
)

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
    how = InterpolationMode.NEAREST, transform._fill
    return transform._apply_image_or_video_transform(image, name, value, *how)


def numbers_of(policy: Policy) -> Tensor:
    """All that the policy has: operations at every level, with both signs."""
    known = [OPERATIONS.index(name) for name in CLASSES[policy]._AUGMENTATION_SPACE]
    return (torch.tensor(known)[:, None] * 2 * LEVELS[policy] + torch.arange(2 * LEVELS[policy])).flatten()


@pytest.mark.parametrize("side", [8, 32, 33])
@pytest.mark.parametrize("channels", [1, 3])
@POLICIES
def test_each_operation_at_every_magnitude_is_torchvision_s(policy: Policy, channels: int, side: int) -> None:
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


class GivenDraws:
    """In place of the Beta distribution and torch.randint, in CutMix."""

    def __init__(self, share: float, middle: list[int]) -> None:
        self.share, self.middle = share, middle

    def sample(self, _: tuple[()]) -> float:
        return self.share

    def randint(self, *_: Any, **__: Any) -> Tensor:
        return torch.tensor([self.middle.pop()])  # the column first


@pytest.mark.parametrize("window", [1, 2048 * 3 * 32 * 32])
def test_cutmix_is_torchvision_s(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "WINDOW_VALUES", window)
    images = training_images(1, [30, 20, 3])
    plain, mixing = (augmentation_settings(policy="trivial", cutmix=alpha) for alpha in (0.0, 0.7))
    draws = draws_of(53, mixing)
    feeds = [Feed(images, [], NORMALIZATION, one, torch.float32, CPU) for one in (plain, mixing)]
    shares: set[float] = set()
    for start, (before, after) in enumerate(zip(*(one.batches(draws, 8) for one in feeds), strict=True)):
        share, *middle = draws.mix[8 * start].tolist()
        transform = v2.CutMix(alpha=0.7, num_classes=3)
        transform._dist = given = GivenDraws(share, [int(at * images.side) for at in middle])
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randint", given.randint)
            expected, labels = transform(before.images_BCHW, before.labels_B)
        assert torch.equal(after.images_BCHW, expected)
        assert after.images_BCHW.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(after.labels_B, labels)
        assert before.labels_B.dtype == torch.int64
        shares |= {*after.labels_B[0].tolist()}
    assert len(shares) > 5


def test_ranks_mix_the_images_that_one_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = augmentation_settings(policy="autoaugment", cutout=2, cutmix=1.0)
    feed = Feed(training_images(1, [10, 7]), [], NORMALIZATION, settings, torch.float32, CPU)
    whole, shards = [*feed.batches(draws := draws_of(17, settings), 8)], []
    for rank in range(3):  # of the last batch, of one image, two have nothing
        monkeypatch.setattr(distributed, "shard", lambda n, at=rank: slice(n * at // 3, n * (at + 1) // 3))
        shards.append([*feed.batches(draws, 8)])
    for batch, *parts in zip(whole, *shards, strict=True):
        for field in ("images_BCHW", "labels_B"):
            assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(batch, field))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_lambda_is_of_a_beta_distribution_and_middles_are_anywhere(alpha: float) -> None:
    share, *middle = draws_of(20_000, augmentation_settings(cutmix=alpha)).mix.unbind(1)
    assert float(share.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(share.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    for at in middle:
        assert (torch.histc(at, 4, 0, 1) / 5000 - 1).abs().max() < 0.06


def test_losses_of_mixed_labels_are_means_over_both_labels() -> None:
    network, own, other = (
        random_network([2, 3]),
        torch.tensor([0, 1, 2, 3, 4, 4]),
        torch.tensor([4, 0, 1, 2, 3, 4]),
    )
    distillation = Distillation(DistillationSettings(0.5, 0.5), random_network([2]).head, [[*range(64)]], 64)
    learned = build_objective(network, old_classes=2, distillation=distillation)
    images, frozen = torch.randn(6, 3, 8, 8), torch.randn(6, 64)
    mixed = 0.3 * F.one_hot(own, 5) + 0.7 * F.one_hot(other, 5)
    for objective, features in (
        (learned, frozen),
        (ClassifierObjective(network.head, 2.0), torch.randn(6, 128)),
    ):
        first, second, both = (objective(images, features, y, torch.zeros(())) for y in (own, other, mixed))
        torch.testing.assert_close(both.total, 0.3 * first.total + 0.7 * second.total)
        torch.testing.assert_close(both.auxiliary, 0.3 * first.auxiliary + 0.7 * second.auxiliary)
        assert both.correct == second.correct  # of the label with more of the pixels
    nothing = [value[:0] for value in (images, frozen, mixed)]
    assert learned.eval()(*nothing, torch.zeros(())).total == 0
