"""The network of all extractors and one classifier."""

import pytest
import torch

from der.model.network import Network, blank_linear, count_parameters, empty_network
from tests.builders import CHANNELS, random_network


@pytest.fixture
def previous() -> Network:
    return random_network([4, 2])


def test_features_are_put_side_by_side_in_order(previous: Network) -> None:
    images = torch.randn(5, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    features = previous.features(images)
    assert features.shape == (5, 128)
    for index, extractor in enumerate(previous.extractors):
        assert torch.equal(features[:, 64 * index : 64 * (index + 1)], extractor(images))
    logits = features.double() @ previous.head.weight.double().T + previous.head.bias.double()
    torch.testing.assert_close(previous(images).double(), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("features", "classes"), [(0, 0), (3, 2)])
def test_blank_linear_has_the_shape_asked_for(features: int, classes: int) -> None:
    layer = blank_linear(features, classes, bias=True)
    assert layer.weight.shape == (classes, features)
    assert layer.bias.shape == (classes,)
    assert (layer.in_features, layer.out_features) == (features, classes)


def test_parameters_are_counted_over_all_modules(previous: Network) -> None:
    each = sum(value.numel() for value in previous.extractors[0].parameters())
    assert count_parameters(previous) == 2 * each + 6 * 128 + 6
    assert count_parameters(previous.head, previous.extractors[0]) == each + 6 * 128 + 6
    assert count_parameters(empty_network()) == 0
