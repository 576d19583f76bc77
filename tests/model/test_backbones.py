"""Backbones and starts of classifiers by name: one that is no ResNet, settings that describe none, draws."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from der.core.errors import UserError
from der.model import backbones
from der.model.network import blank_linear, build_extractor, fold_network, run_network
from der.settings.sections import NetworkSettings
from tests import builders


class Plain(nn.Module):
    """No ResNet, and of no class of ours; its batch normalisation counts batches, as torch's does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = 12
        self.body = nn.Sequential(nn.Conv2d(channels, 12, 3, bias=True), nn.BatchNorm2d(12), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images).mean((2, 3))  # type: ignore[no-any-return]


def draw_plain(extractor: nn.Module, generator: torch.Generator) -> None:
    for values in extractor.parameters():
        nn.init.normal_(values, std=0.2, generator=generator)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> NetworkSettings:
    """Settings of a network of ``Plain``."""
    backbone = backbones.Backbone(build=lambda channels, shape: Plain(channels), initialize=draw_plain)
    monkeypatch.setitem(backbones.BACKBONES, "plain", lambda settings: backbone)
    return builders.network_settings(
        backbone="plain", mean=builders.NORMALIZATION.mean, std=builders.NORMALIZATION.std
    )


NAMES = [["a", "b"], ["c"]]


@pytest.mark.parametrize("rebalancing", ["weight_alignment", "classifier_learning"])
def test_another_backbone_grows_and_is_read(plain: NetworkSettings, rebalancing: str, tmp_path: Path) -> None:
    settings = builders.train_settings(incremental=builders.incremental_settings(rebalancing=rebalancing))
    first = builders.take_step(None, NAMES[:1], builders.training_images(1, [9, 7]), settings, network=plain)
    second = builders.take_step(first, NAMES, builders.training_images(2, [3, 3, 9]), settings, network=plain)
    assert [type(one) for one in second.network.extractors] == [Plain, Plain]
    start, kept, new = map(builders.weights, [*first.network.extractors, *second.network.extractors])
    assert builders.same_bits(start, kept) and not builders.same_bits(start, new)
    assert second.network.head.weight.shape == (3, 24)
    expected, found = (
        run_network(one, builders.NORMALIZATION, builders.random_images(0, 5), builders.CPU).features
        for one in (second.network, fold_network(second.network, builders.CPU))
    )
    torch.testing.assert_close(found, expected)
    builders.assert_saved(tmp_path, first, second)


def test_masks_are_refused_before_anything_is_trained(plain: NetworkSettings) -> None:
    recorder, settings = builders.Recorder(), builders.train_settings(masks=builders.mask_settings())
    with pytest.raises(UserError) as caught:
        builders.take_step(
            None, NAMES[:1], builders.training_images(1, [9, 7]), settings, recorder, network=plain
        )
    assert str(caught.value) == (
        "train.masks: backbone plain has no channel masks, only cifar_resnet and resnet have; write null"
    )
    assert recorder.phases == []


def test_what_is_no_backbone(plain: NetworkSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = backbones.Backbone(build=lambda channels, shape: nn.Flatten(), initialize=draw_plain)
    faults = {
        bare: "set features, the number of its outputs",
        "a word": "return a der.model.backbones.Backbone",
    }
    for returned, fault in faults.items():
        monkeypatch.setitem(backbones.BACKBONES, "plain", lambda settings, it=returned: it)
        with pytest.raises(UserError, match=rf"^network\.backbone: plain must {re.escape(fault)}$"):
            build_extractor(plain, 3)


@pytest.mark.parametrize(
    ("draw", "torchs"),
    [
        (backbones.torch_uniform, lambda layer: layer.reset_parameters()),
        (
            backbones.lecun_uniform,
            lambda layer: nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear"),
        ),
        (backbones.lecun_normal, lambda layer: nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")),
    ],
)
def test_torch_draws_the_same_numbers(
    draw: backbones.HeadInitialization, torchs: Callable[[nn.Linear], object]
) -> None:
    layer, own = nn.Linear(48, 30), blank_linear(48, 30, bias=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torchs(layer)
    draw(own, torch.Generator().manual_seed(3))
    torch.testing.assert_close(own.weight, layer.weight, rtol=1e-5, atol=1e-7)
    if draw is backbones.torch_uniform:
        torch.testing.assert_close(own.bias, layer.bias, rtol=1e-5, atol=1e-7)
    else:
        assert not own.bias.any()
