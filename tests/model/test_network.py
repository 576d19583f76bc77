"""Growth of the network from step to step."""

import pytest
import torch

from der.model.network import (
    Network,
    blank_linear,
    count_parameters,
    empty_network,
    expand,
    prune_newest,
    random_linear,
)
from der.train.masks import ChannelMasks
from tests.builders import (
    CHANNELS,
    NETWORK,
    mask_settings,
    network_settings,
    random_network,
    same_bits,
    weights,
)


def grown(previous: Network, new_classes: int, seed: int = 5) -> Network:
    return expand(previous, new_classes, NETWORK, CHANNELS, torch.Generator().manual_seed(seed))


@pytest.fixture
def previous() -> Network:
    return random_network([4, 2])


def test_old_weights_and_biases_are_inherited(previous: Network) -> None:
    head = grown(previous, 3).head
    assert head.weight.shape == (9, 3 * 64)
    assert head.bias.shape == (9,)
    assert torch.equal(head.weight[:6, :128], previous.head.weight)
    assert torch.equal(head.bias[:6], previous.head.bias)


def test_the_rest_of_the_classifier_is_random_within_its_bound(previous: Network) -> None:
    head, other = grown(previous, 3, seed=1).head, grown(previous, 3, seed=2).head
    bound = (3 * 64) ** -0.5
    parts = ((slice(6, 9), slice(None)), (slice(None), slice(128, 192)))
    for part in parts:
        values = head.weight[part].detach()
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.9 * bound
        assert abs(values.mean()) < 0.1 * bound
        assert not torch.isclose(values, other.weight[part]).any()
    assert head.bias[6:].abs().max() <= bound
    assert not torch.equal(head.bias[6:], other.bias[6:])


def test_the_new_extractor_is_a_copy_of_the_newest(previous: Network) -> None:
    *shared, newest = grown(previous, 3).extractors
    assert same_bits(weights(newest), weights(previous.extractors[-1]))
    assert not same_bits(weights(newest), weights(previous.extractors[0]))
    for old, kept in zip(previous.extractors, shared, strict=True):
        assert kept is old


def test_training_the_new_extractor_leaves_the_previous_network(previous: Network) -> None:
    before = weights(previous)
    network = grown(previous, 3)
    with torch.no_grad():
        for module in (network.extractors[-1], network.head):
            for value in module.state_dict().values():
                value.add_(1)
    assert same_bits(weights(previous), before)


def test_the_first_step_expands_nothing() -> None:
    network = grown(empty_network(), 4)
    assert len(network.extractors) == 1
    assert network.classes == 4
    assert network.head.weight.shape == (4, 64)
    other = grown(empty_network(), 4, seed=6)
    assert not same_bits(weights(network.extractors[0]), weights(other.extractors[0]))


def test_growth_is_a_function_of_the_generator(previous: Network) -> None:
    assert same_bits(weights(grown(previous, 3)), weights(grown(previous, 3)))
    assert same_bits(weights(grown(empty_network(), 2)), weights(grown(empty_network(), 2)))


def test_features_are_put_side_by_side_in_order(previous: Network) -> None:
    images = torch.randn(5, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    features = previous.features(images)
    assert features.shape == (5, 128)
    for number, extractor in enumerate(previous.extractors):
        assert torch.equal(features[:, 64 * number : 64 * (number + 1)], extractor(images))
    logits = features.double() @ previous.head.weight.double().T + previous.head.bias.double()
    torch.testing.assert_close(previous(images).double(), logits, rtol=1e-5, atol=1e-5)


def test_only_old_features_decide_old_logits_if_new_columns_are_zero(previous: Network) -> None:
    network = grown(previous, 3).eval()
    with torch.no_grad():
        network.head.weight[:6, 128:] = 0
    images = torch.randn(5, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(images)[:, :6], previous(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("features", "classes"), [(0, 0), (3, 2)])
def test_blank_linear_has_the_shape_asked_for(features: int, classes: int) -> None:
    layer = blank_linear(features, classes, bias=True)
    assert layer.weight.shape == (classes, features)
    assert layer.bias.shape == (classes,)
    assert (layer.in_features, layer.out_features) == (features, classes)


def test_random_linear_is_uniform() -> None:
    layer = random_linear(100, 500, True, torch.Generator().manual_seed(0))
    quarters = torch.histc(layer.weight.detach(), bins=4, min=-0.1, max=0.1)
    assert quarters.sum() == 50_000
    assert (quarters / 12_500 - 1).abs().max() < 0.04


def test_parameters_are_counted_over_all_modules(previous: Network) -> None:
    each = sum(value.numel() for value in previous.extractors[0].parameters())
    assert count_parameters(previous) == 2 * each + 6 * 128 + 6
    assert count_parameters(previous.head, previous.extractors[0]) == each + 6 * 128 + 6
    assert count_parameters(empty_network()) == 0


def test_a_classifier_without_bias() -> None:
    settings = network_settings(head_bias=False)
    first = expand(empty_network(), 3, settings, CHANNELS, torch.Generator().manual_seed(0))
    second = expand(first, 2, settings, CHANNELS, torch.Generator().manual_seed(1))
    assert first.head.bias is None and second.head.bias is None
    extractor = count_parameters(first.extractors[0])
    assert count_parameters(first) == extractor + 3 * 64
    assert count_parameters(second) == 2 * extractor + 5 * 128
    assert torch.equal(second.head.weight[:3, :64], first.head.weight)


def test_without_expansion_one_extractor_goes_on() -> None:
    settings = network_settings(expansion=False)
    previous = random_network([4])
    before = weights(previous)
    network = expand(previous, 3, settings, CHANNELS, torch.Generator().manual_seed(0))
    assert len(network.extractors) == 1
    assert network.extractors[0] is not previous.extractors[0]
    assert same_bits(weights(network.extractors[0]), weights(previous.extractors[0]))
    assert network.head.weight.shape == (7, 64)
    assert torch.equal(network.head.weight[:4], previous.head.weight)
    assert torch.equal(network.head.bias[:4], previous.head.bias)
    assert network.head.weight[4:].abs().max() <= 1 / 8
    images = torch.randn(3, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.eval()(images)[:, :4], previous(images))
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(1)
    assert same_bits(weights(previous), before)


def test_without_expansion_a_pruned_extractor_goes_on_whole() -> None:
    settings = network_settings(expansion=False)
    network = random_network([4])
    masks = ChannelMasks(network.extractors[0], mask_settings(), torch.Generator().manual_seed(0))
    pruned = prune_newest(network, masks.shape(), settings)
    grown = expand(pruned, 2, settings, CHANNELS, torch.Generator().manual_seed(0))
    kept = masks.shape().streams[-1]
    assert grown.head.weight.shape == (6, 64)
    assert torch.equal(grown.head.weight[:4, kept], pruned.head.weight)
    rows = masks.shape().streams[0]
    assert torch.equal(
        grown.extractors[0].stem.conv.weight[rows], network.extractors[0].stem.conv.weight[rows]
    )
