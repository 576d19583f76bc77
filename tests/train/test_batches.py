"""Batches: images gathered and read, and augmented byte for byte as torchvision does on PIL images."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as TF

from der.data import arrays as array_module
from der.data.arrays import Memory, empty_memory, every_row, write_images
from der.settings.sections import AugmentationSettings
from der.train import batches
from der.train import batches as batch_module
from tests import builders


def flat(images: batches.TrainingImages) -> list[tuple[int, bytes]]:
    pixels = images.pixels.copy()
    return [(int(label), image.tobytes()) for label, image in zip(images.labels, pixels, strict=True)]


def labelled(images: np.ndarray, label: int) -> list[tuple[int, bytes]]:
    return [(label, image.tobytes()) for image in images]


def test_new_classes_are_labelled_on_from_memory() -> None:
    new = [builders.random_images(1, 3), builders.random_images(2, 4)]
    exemplars = builders.random_images(3, 5)
    memory = Memory(every_row([exemplars]), np.array([0, 0, 1, 2, 2]), np.zeros((3, 2), np.float32))
    expected = labelled(new[0], 3) + labelled(new[1], 4)
    expected += labelled(exemplars[:2], 0) + labelled(exemplars[2:3], 1) + labelled(exemplars[3:], 2)
    assert sorted(flat(batches.gather_step(new, memory))) == sorted(expected)


def test_training_on_mapped_images_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_module, "HELD", 6 * 8 * 8 * 3)  # let go of in the midst of an epoch
    monkeypatch.setattr(batch_module, "WINDOW_VALUES", 1)
    arrays = [builders.random_images(1, 7), builders.random_images(2, 6)]
    for number, array in enumerate(arrays):
        write_images(tmp_path / f"{number}.npy", every_row([array]))
    on_disk = [np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(2)]
    states = []
    for found in (arrays, on_disk):
        objective = builders.build_objective(builders.random_network([2]), 0)
        images, phase = batches.gather_step(found, empty_memory()), builders.phase_settings(batch_size=4)
        engine = builders.build_engine(objective, [], images, phase, builders.augmentation_settings())
        means = engine.run_epoch(builders.draws_of(13, builders.augmentation_settings()), 0.1, lambda _: None)
        states.append((means, engine.pack().numpy().tobytes()))
    assert states[0] == states[1]


OFF: dict[str, Any] = {"resized_crop": None, "crop_padding": 0, "horizontal_flip": False, "brightness": 0.0}


def torchvision_on_pil(
    images: NDArray[np.uint8], draws: batches.Draws, settings: AugmentationSettings
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


def agree(images: NDArray[np.uint8], draws: batches.Draws, settings: AugmentationSettings) -> None:
    result = batches.augment(torch.from_numpy(images), draws, settings)
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
        {"crop_padding": 4, "brightness": 1.0},
        {"crop_padding": 0},
        {"horizontal_flip": False},
        {"brightness": 0.0},
    ],
    ids=str,
)
def test_equal_to_torchvision(changes: dict[str, Any], channels: int) -> None:
    settings = builders.augmentation_settings(**changes)
    agree(noise(1500, 6, 6, channels), builders.draws_of(1500, settings), settings)


NAMES = ("order", "box", "top", "left", "flip", "brightness", "operations", "hole", "mix")


def equal(left: batches.Draws, right: batches.Draws) -> set[str]:
    """Names of the draws that are the same."""
    return {name for name in NAMES if torch.equal(getattr(left, name), getattr(right, name))}


def test_draws_lie_in_their_ranges_and_fill_them() -> None:
    draws = builders.draws_of(20_000, builders.augmentation_settings(crop_padding=3, brightness=0.25))
    assert torch.equal(draws.order.sort().values, torch.arange(20_000))
    for offsets in (draws.top, draws.left):
        counts = torch.bincount(offsets, minlength=7)
        assert len(counts) == 7
        assert (counts / (20_000 / 7) - 1).abs().max() < 0.1
    assert abs(draws.flip.float().mean() - 0.5) < 0.02
    assert 0.75 <= draws.brightness.min() < 0.751
    assert 1.249 < draws.brightness.max() <= 1.25
    assert abs(draws.brightness.mean() - 1) < 0.005


def test_every_seed_phase_step_and_epoch_has_its_own_draws() -> None:
    settings = builders.augmentation_settings(
        resized_crop=[0.1, 1.0], crop_padding=4, policy="trivial", cutout=2, cutmix=1.0
    )
    plain = (1, "a", 2, 3)
    assert equal(batches.draw_epoch(500, settings, *plain), batches.draw_epoch(500, settings, *plain)) == set(
        NAMES
    )
    for other in ((9, "a", 2, 3), (1, "b", 2, 3), (1, "a", 9, 3), (1, "a", 2, 9), (1, "a", 3, 2)):
        assert (
            equal(batches.draw_epoch(500, settings, *plain), batches.draw_epoch(500, settings, *other))
            == set()
        )


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"resized_crop": None}, {"box"}),
        ({"crop_padding": 0}, {"top", "left"}),
        ({"horizontal_flip": False}, {"flip"}),
        ({"brightness": 0.0}, {"brightness"}),
        ({"policy": None}, {"operations"}),
        ({"cutout": 0}, {"hole"}),
        ({"cutmix": 0.0}, {"mix"}),
    ],
    ids=lambda value: " ".join(sorted(value)),  # a set's text differs between test processes
)
def test_switching_one_kind_off_moves_no_other(changes: dict[str, Any], moved: set[str]) -> None:
    everything: dict[str, Any] = {"resized_crop": [0.1, 1.0], "policy": "trivial", "cutout": 2, "cutmix": 1.0}
    plain = builders.draws_of(500, builders.augmentation_settings(**everything))
    without = builders.draws_of(500, builders.augmentation_settings(**everything | changes))
    assert equal(plain, without) == set(NAMES) - moved
    assert torch.equal(without.box, whole_boxes(500)) or "box" not in moved
    assert not without.top.any() or "top" not in moved
    assert not without.flip.any() or "flip" not in moved
    assert without.brightness.eq(1).all() or "brightness" not in moved


@pytest.mark.parametrize("side", [16, 37])
def test_a_resized_crop_is_torchvision_s(side: int) -> None:
    """Away from the edges of the box, where torchvision repeats pixels and we go on into the image."""
    images = torch.from_numpy(noise(60, side, side, 3)).permute(0, 3, 1, 2).contiguous()
    rng = np.random.RandomState(0)
    for image in images:
        height, width = (int(one) for one in rng.randint(2, side + 1, 2))
        top, left = int(rng.randint(side - height + 1)), int(rng.randint(side - width + 1))
        box = torch.tensor([[height, width, top, left]]) / side
        ours = batches.resize_crops(image[None], box)[0]
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


@pytest.mark.parametrize("area", [[0.08, 1.0], [0.3, 0.3], [0.9, 1.0]])
def test_boxes_keep_to_their_area_and_aspect(area: list[float]) -> None:
    height, width, top, left = batches.draw_boxes(20_000, area, torch.Generator().manual_seed(0)).unbind(1)
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
