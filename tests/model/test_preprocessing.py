"""Pixels to network input."""

import numpy as np
import pytest
import torch

from der.model.forward import Normalize
from der.model.normalization import Normalization, measure_normalization
from tests.builders import random_images


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_by_hand(channels: int) -> None:
    normalization = Normalization([0.5, 0.25, 0.1][:channels], [0.5, 0.2, 0.4][:channels])
    images = torch.from_numpy(random_images(0, 5, channels=channels)).permute(0, 3, 1, 2)
    expected = images.numpy() / 255
    for channel in range(channels):
        expected[:, channel] -= normalization.mean[channel]
        expected[:, channel] /= normalization.std[channel]
    result = Normalize(normalization)(images)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_normalise_has_nothing_to_learn() -> None:
    assert list(Normalize(Normalization([0.5], [0.2])).parameters()) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_measured_over_all_pixels_of_all_arrays(channels: int) -> None:
    arrays = [
        random_images(seed, count, channels=channels) // (seed + 1) for seed, count in enumerate((7, 1, 4))
    ]
    pixels = np.concatenate(arrays).reshape(-1, channels) / 255
    result = measure_normalization(arrays)
    np.testing.assert_allclose(result.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(result.std, pixels.std(0), rtol=1e-9)


def test_measuring_is_exact_whatever_the_order() -> None:
    arrays = [random_images(seed, 9) for seed in range(5)]
    assert measure_normalization(arrays) == measure_normalization(arrays[::-1])


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_channel_that_never_varies_maps_to_zero(value: int) -> None:
    images = random_images(0, 6)
    images[..., 1] = value
    normalization = measure_normalization([images])
    assert normalization.std[1] == 1
    normalized = Normalize(normalization)(torch.from_numpy(images).permute(0, 3, 1, 2))
    assert normalized[:, 1].abs().max() < 1e-6
