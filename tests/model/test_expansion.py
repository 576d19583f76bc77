"""Growth of the network from step to step."""

import pytest
import torch

from der.core.errors import UserError
from der.model.backbones import build_extractor, initialize_extractor
from der.model.expansion import expand, random_linear
from der.model.head_initialization import HEAD_INITIALIZATIONS
from der.model.network import (
    Network,
    blank_linear,
    count_parameters,
    empty_network,
    prune_newest,
)
from der.pipeline.fingerprint import Code
from der.train.masks import ChannelMasks
from stages.check import list_fingerprinted
from tests.builders import (
    CHANNELS,
    NETWORK,
    mask_settings,
    network_settings,
    random_network,
    same_bits,
    weights,
)
from tests.locations import ROOT


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


def test_only_old_features_decide_old_logits_if_new_columns_are_zero(previous: Network) -> None:
    network = grown(previous, 3).eval()
    with torch.no_grad():
        network.head.weight[:6, 128:] = 0
    images = torch.randn(5, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(images)[:, :6], previous(images), rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("expansion", [True, False])
def test_without_inheritance_the_whole_classifier_is_new(expansion: bool, bias: bool) -> None:
    own = network_settings(expansion=expansion, head_bias=bias)
    foreign = network_settings(expansion=expansion, head_bias=bias, inherit_head=False)
    previous = expand(empty_network(), 4, own, CHANNELS, torch.Generator().manual_seed(0))
    kept, new = (
        expand(previous, 3, one, CHANNELS, torch.Generator().manual_seed(1)) for one in (own, foreign)
    )
    assert torch.equal(kept.head.weight[:4, :64], previous.head.weight)
    assert not torch.isclose(new.head.weight[:4, :64], previous.head.weight).any()
    assert torch.equal(new.head.weight[4:], kept.head.weight[4:])
    assert not bias or not torch.isclose(new.head.bias[:4], previous.head.bias).any()
    for one, other in zip(kept.extractors, new.extractors, strict=True):
        assert same_bits(weights(one), weights(other))


@pytest.mark.parametrize("name", HEAD_INITIALIZATIONS)
def test_new_rows_and_columns_are_drawn_as_asked(name: str) -> None:
    settings = network_settings(head_initialization=name)
    first = expand(empty_network(), 4, settings, CHANNELS, torch.Generator().manual_seed(0))
    second = expand(first, 2, settings, CHANNELS, torch.Generator().manual_seed(1))
    drawn = blank_linear(128, 6, bias=True)
    stream = torch.Generator().manual_seed(1)
    initialize_extractor(build_extractor(settings, CHANNELS), settings, stream)
    HEAD_INITIALIZATIONS[name](drawn, stream)
    assert torch.equal(second.head.weight[4:], drawn.weight[4:])
    assert torch.equal(second.head.weight[:4, 64:], drawn.weight[:4, 64:])
    assert torch.equal(second.head.bias[4:], drawn.bias[4:])
    assert torch.equal(second.head.weight[:4, :64], first.head.weight)


def test_no_such_initialization() -> None:
    settings = network_settings(head_initialization="zeros")
    with pytest.raises(
        UserError, match=r"^network\.head_initialization: 'zeros' does not fit; write torch_un"
    ):
        random_linear(3, 2, settings, torch.Generator())


def test_only_training_knows_how_classifiers_start() -> None:
    for stage in list_fingerprinted():
        reached = Code({}, ROOT).reach(f"stages.{stage}")
        known = any("HEAD_INITIALIZATIONS" in names for names in reached.values())
        assert known == (stage == "train_task"), stage
