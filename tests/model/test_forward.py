"""Forward passes over many images: normalised pixels, any number in a pass, and folded normalisation."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise, starmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from der.core.files import read_array, write_array
from der.model.architecture import Normalization, Outputs, measure_normalization
from der.model.kernels.layers import fold_pairs
from der.model.network import Normalize, fold_batchnorm, outputs_by_class, run_network
from tests import builders


def assert_alike(found: Outputs, expected: Outputs) -> None:
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=1e-5)


def test_features_and_logits_against_the_modules_one_image_at_a_time(tmp_path: Path) -> None:
    network, images = builders.random_network([3, 2]), builders.random_images(0, 7)
    before = builders.weights(network)
    outputs = run_network(network.train(), builders.NORMALIZATION, images, builders.CPU)
    assert outputs.features.shape == (7, 128)
    assert outputs.logits.shape == (7, 5)
    assert outputs.features.dtype == outputs.logits.dtype == np.float32
    for image, features, logits in zip(images, outputs.features, outputs.logits, strict=True):
        pixels = (image / 255 - np.array(builders.NORMALIZATION.mean)) / np.array(builders.NORMALIZATION.std)
        inputs = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
        with torch.no_grad():
            expected = torch.cat([extractor(inputs) for extractor in network.extractors], 1)
            assert_alike(
                Outputs(features, logits), Outputs(expected[0].numpy(), network.head(expected)[0].numpy())
            )
    assert builders.same_bits(builders.weights(network), before)
    assert all(parameter.grad is None for parameter in network.parameters())
    write_array(tmp_path / "images.npy", images)
    mapped = run_network(
        network, builders.NORMALIZATION, read_array(tmp_path / "images.npy", mapped=True), builders.CPU
    )
    np.testing.assert_array_equal(mapped.logits, outputs.logits)


CHECKPOINT = builders.random_checkpoint([3])


@cache
def alone(seed: int, count: int) -> Outputs:
    """What the network makes of a class that has a pass for itself."""
    images = builders.random_images(seed, count)
    return run_network(CHECKPOINT.network, CHECKPOINT.metadata.normalization, images, builders.CPU)


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(1, 6))
def test_classes_share_passes_that_are_no_longer_than_others(counts: list[int], most: int) -> None:
    passes = []
    classes = [builders.random_images(seed, count) for seed, count in enumerate(counts)]

    def run(*given: Any) -> Outputs:
        passes.append(len(given[2]))
        return run_network(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("der.model.network.PASS_VALUES", most * builders.random_images(0, 1).size)
        patch.setattr("der.model.network.run_network", run)
        together = [*outputs_by_class(CHECKPOINT.network, builders.NORMALIZATION, classes, builders.CPU)]
    for one, other in zip(together, starmap(alone, enumerate(counts)), strict=True):
        assert_alike(one, other)
    assert sum(passes) == sum(counts)
    assert all(count <= most or count in counts for count in passes)
    assert len(passes) <= len(counts) and all(a + b > most for a, b in pairwise(passes))


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_measured_and_normalised_over_all_arrays_in_any_order(channels: int) -> None:
    arrays = [
        builders.random_images(seed, count, channels=channels) // (seed + 1)
        for seed, count in enumerate((7, 1, 4))
    ]
    pixels = np.concatenate(arrays) / 255
    found = measure_normalization(arrays)
    assert found == measure_normalization(arrays[::-1])
    np.testing.assert_allclose(found.mean, pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std((0, 1, 2)), rtol=1e-9)
    normalization = Normalization([0.5, 0.25, 0.1][:channels], [0.5, 0.2, 0.4][:channels])
    result = Normalize(normalization)(torch.from_numpy(np.concatenate(arrays)).permute(0, 3, 1, 2))
    expected = (pixels - normalization.mean) / normalization.std
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.permute(0, 2, 3, 1), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_folding_keeps_the_features_and_leaves_the_extractor(channels: int, training: bool) -> None:
    extractor = builders.random_extractor(1, channels)
    images = torch.randn(16, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    expected, before = extractor(images), builders.weights(extractor)
    folded = fold_batchnorm(extractor.train(training))
    found = folded(images)
    assert found.dtype == torch.float32 and not found.requires_grad
    assert (found - expected).abs().max() <= 2e-6 * expected.abs().max()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert builders.same_bits(builders.weights(extractor), before) and extractor.training is training
    assert all(parameter.requires_grad for parameter in extractor.parameters())


def fill(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            assert one.running_mean is not None and one.running_var is not None
            one.running_mean.normal_(generator=generator)
            one.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


class Branches(nn.Module):
    """The convolution's result is used beside the normalisation, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.norm(y)  # type: ignore[no-any-return]


class Twice(nn.Module):
    """One normalisation for two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.second(self.norm(self.first(x))))  # type: ignore[no-any-return]


class Untraceable(nn.Module):
    """What is computed depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) if x.sum() > 0 else x  # type: ignore[no-any-return]


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.BatchNorm2d(6)
    )


@pytest.mark.parametrize(("make", "left"), [(grouped, 1), (Branches, 1), (Twice, 1), (Untraceable, 1)])
@torch.no_grad()
def test_the_results_stay(make: Callable[[], nn.Module], left: int) -> None:
    module, images = fill(make()).double(), torch.rand(2, 3, 8, 8).double()
    expected = module(images)
    fold_pairs(module)
    torch.testing.assert_close(module(images), expected)
    assert sum(isinstance(one, nn.BatchNorm2d) for one in module.modules()) == left
