"""Backbones by name: parameters that describe none, and one that is no ResNet."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec import structs
from torch import Tensor, nn

from der.core.errors import UserError
from der.model.architecture import Shape
from der.model.backbones import BACKBONES, Backbone, build_extractor, choose_backbone
from der.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from der.model.expansion import expand
from der.model.forward import run_network
from der.model.kernels.folding import fold_batchnorm
from der.model.metadata import save_empty_checkpoint
from der.model.network import fold_network
from der.settings.sections import NetworkSettings
from tests.builders import (
    CHANNELS,
    CPU,
    NORMALIZATION,
    Killed,
    Killer,
    MemoryKeeper,
    Recorder,
    incremental_settings,
    mask_settings,
    network_settings,
    random_images,
    same_bits,
    take_step,
    train_settings,
    training_images,
    weights,
)

DEPTHS = "8, 14, 20, 26, 32, 44, 56 or 110"
TORCH_FREE = ("der.model.backbones", "der.model.metadata", "der.train.rebalancing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *[
            (
                {"depth": depth},
                f"network.depth: {depth} is not 6n + 2; write 8, 14, 20, 26, 32, 44, 56 or 110",
            )
            for depth in (9, 18, 33)
        ],
        ({"stem": "large"}, "network.stem: large goes with backbone resnet; write small"),
        *[
            (
                {"backbone": "resnet", "depth": depth},
                f"network.depth: {depth} is no depth of backbone resnet; write 18 or 34",
            )
            for depth in (8, 20, 50)
        ],
        (
            {"backbone": "vgg"},
            "network.backbone: 'vgg' does not fit; write cifar_resnet or resnet or timm:<name>, "
            "or module:function of your own",
        ),
    ],
)
@pytest.mark.parametrize("use", [choose_backbone, lambda settings: build_extractor(settings, 3)])
def test_settings_that_describe_no_backbone(
    changes: dict[str, Any], message: str, use: Callable[[NetworkSettings], object]
) -> None:
    with pytest.raises(UserError) as error:
        use(network_settings(**changes))
    assert str(error.value) == message


def test_names_and_parameters_are_known_without_torch() -> None:
    program = f"import sys, {', '.join(TORCH_FREE)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


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
    backbone = Backbone(build=lambda channels, shape: Plain(channels), initialize=draw_plain)
    monkeypatch.setitem(BACKBONES, "plain", lambda settings: backbone)
    return network_settings(backbone="plain", mean=NORMALIZATION.mean, std=NORMALIZATION.std)


NAMES = [["a", "b"], ["c"]]


def two_steps(network: NetworkSettings, **incremental: Any) -> list[Checkpoint]:
    settings = train_settings(incremental=incremental_settings(**incremental))
    first = take_step(None, NAMES[:1], training_images(1, [9, 7]), settings, network=network)
    return [first, take_step(first, NAMES, training_images(2, [3, 3, 9]), settings, network=network)]


@pytest.mark.parametrize("rebalancing", ["weight_alignment", "classifier_learning"])
def test_a_network_of_another_backbone_grows(plain: NetworkSettings, rebalancing: str) -> None:
    first, second = two_steps(plain, rebalancing=rebalancing)
    assert [type(one) for one in second.network.extractors] == [Plain, Plain]
    assert same_bits(weights(first.network.extractors[0]), weights(second.network.extractors[0]))
    assert not same_bits(weights(first.network.extractors[0]), weights(second.network.extractors[1]))
    assert second.network.head.weight.shape == (3, 24)
    assert second.metadata.shapes == [None, None]


def test_the_next_extractor_of_another_backbone_starts_as_a_copy(plain: NetworkSettings) -> None:
    first, _ = two_steps(plain)
    network = expand(first.network, 1, plain, CHANNELS, torch.Generator().manual_seed(0))
    before, newest = network.extractors
    assert newest is not before
    assert same_bits(weights(newest), weights(before))


def test_without_expansion_another_backbone_goes_on(plain: NetworkSettings) -> None:
    _, second = two_steps(structs.replace(plain, expansion=False))
    assert [type(one) for one in second.network.extractors] == [Plain]
    assert second.network.head.weight.shape == (3, 12)


def test_a_checkpoint_of_another_backbone_is_read_again(plain: NetworkSettings, tmp_path: Path) -> None:
    save_empty_checkpoint(tmp_path / "0")
    for step, checkpoint in enumerate(two_steps(plain), start=1):
        save_checkpoint(tmp_path / str(step), checkpoint, tmp_path / str(step - 1))
        read = load_checkpoint(tmp_path / str(step))
        assert read.metadata == checkpoint.metadata
        assert same_bits(weights(read.network), weights(checkpoint.network))


def test_another_backbone_is_folded_as_it_is_in_evaluation(plain: NetworkSettings) -> None:
    network = two_steps(plain)[1].network
    images = random_images(0, 5)
    expected = run_network(network, NORMALIZATION, images, CPU)
    for extractor in network.extractors:
        one = fold_batchnorm(extractor.train())
        assert same_bits(weights(one), weights(extractor))
        assert not any(module.training for module in one.modules())
    folded = run_network(fold_network(network, CPU), NORMALIZATION, images, CPU)
    torch.testing.assert_close(folded.features, expected.features)


def test_a_resumed_step_of_another_backbone_gives_the_same_bits(plain: NetworkSettings) -> None:
    images, keeper = training_images(1, [9, 7]), MemoryKeeper()
    with pytest.raises(Killed):
        take_step(None, NAMES[:1], images, train_settings(), Killer(3), network=plain, keeper=keeper)
    recorder = Recorder()
    resumed = take_step(None, NAMES[:1], images, train_settings(), recorder, network=plain, keeper=keeper)
    whole = take_step(None, NAMES[:1], images, train_settings(), network=plain)
    assert recorder.resumed == [1]
    assert same_bits(weights(resumed.network), weights(whole.network))


def test_masks_are_refused_before_anything_is_trained(plain: NetworkSettings) -> None:
    recorder, settings = Recorder(), train_settings(masks=mask_settings())
    message = r"^train\.masks: backbone plain has no channel masks, .*; write null$"
    with pytest.raises(UserError, match=message):
        take_step(None, NAMES[:1], training_images(1, [9, 7]), settings, recorder, network=plain)
    assert recorder.phases == []


def test_channels_on_record_of_a_backbone_that_has_none(plain: NetworkSettings, tmp_path: Path) -> None:
    (first, _), shape = two_steps(plain), Shape([[0]], [[[0]]])
    save_checkpoint(
        tmp_path / "1", replace(first, metadata=structs.replace(first.metadata, shapes=[shape])), tmp_path
    )
    with pytest.raises(UserError, match=r"network\.json\.shapes\[0\]: not channels of this network"):
        load_checkpoint(tmp_path / "1")


@pytest.mark.parametrize("features", [None, 0, 12.0, "12"])
def test_an_extractor_that_does_not_tell_its_features(
    features: object, plain: NetworkSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(channels: int, shape: Shape | None) -> nn.Module:
        extractor = Plain(channels)
        extractor.features = features  # type: ignore[assignment]
        return extractor

    monkeypatch.setitem(BACKBONES, "plain", lambda settings: Backbone(build, draw_plain))
    with pytest.raises(UserError, match=r"^network\.backbone: plain builds a module whose features are "):
        build_extractor(plain, 3)
