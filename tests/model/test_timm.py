"""timm's models as extractors: what they give, how much of them a step trains, what is refused."""

import json
import resource
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from msgspec.structs import replace
from torch import nn

from der.core.errors import UserError
from der.core.files import seal
from der.model.backbones import choose_backbone
from der.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from der.model.network import (
    Network,
    build_extractor,
    count_parameters,
    fold_network,
    random_extractor,
    run_network,
)
from der.model.weights import begin, fill, list_tuned, shares_trunk, split
from der.settings.sections import NetworkSettings
from tests import builders
from tests.model.tiny_timm import (
    BACKBONE,
    SIDE,
    learn_second,
    settings_for,
    start_for,
    teach,
    whole_model,
    write_weights,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> NetworkSettings:
    return settings_for(write_weights(tmp_path_factory.mktemp("weights")))


@torch.no_grad()
def test_features_are_those_that_timm_s_classifier_gets(settings: NetworkSettings) -> None:
    extractor = build_extractor(settings, 3)
    begin(extractor, start_for(settings))
    found, pixels = extractor.eval()(torch.rand(2, 3, SIDE, SIDE)), torch.rand(3, 3, SIDE, SIDE)
    assert found.shape == (2, extractor.features)
    model: Any = whole_model()
    torch.testing.assert_close(model.classifier(extractor(pixels)), model(pixels))


def test_random_weights_are_a_function_of_the_generator_alone(settings: NetworkSettings) -> None:
    def draw(seed: int) -> dict[str, torch.Tensor]:
        return builders.weights(random_extractor(settings, 1, torch.Generator().manual_seed(seed)))

    first, again, other = draw(0), draw(0), draw(1)
    assert builders.same_bits(first, again) and not builders.same_bits(first, other)
    assert first["model.conv_stem.weight"].shape[1] == 1


Taught = Callable[[str], list[Checkpoint]]  # two steps, of which so much is tuned


@pytest.fixture(scope="module")
def taught(settings: NetworkSettings) -> Taught:
    return cache(lambda tuned: teach(replace(settings, tuned=tuned)))


def test_a_description_of_a_giant_without_its_weights_is_refused_before_it_is_built(
    taught: Taught, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "1", taught("all")[0])
    description = tmp_path / "1" / "network.json"
    content = json.loads(description.read_text(encoding="utf-8"))
    content["network"]["backbone"] = "timm:vit_gigantic_patch14_clip_224"  # 7 GB
    description.write_text(json.dumps(content), encoding="utf-8")
    seal(tmp_path / "1", {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB
    with pytest.raises(UserError, match="not the weights of the network that network"):
        load_checkpoint(tmp_path / "1")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2_000_000


def test_all_or_the_last_stage_is_trained_with_statistics(settings: NetworkSettings, taught: Taught) -> None:
    start = start_for(settings).tensors
    last = {name for name in start if name.startswith(("model.blocks.4.", "model.conv_head", "model.bn2."))}
    for tuned, expected in (("all", set(start)), ("last", last)):
        found = builders.weights(taught(tuned)[0].network.extractors[0])
        assert {name for name, value in found.items() if not torch.equal(value, start[name])} == expected
    assert len(last) < len(start) / 2


@pytest.mark.parametrize(
    ("name", "first", "count"),
    [("test_resnet", "layer4.0.", 15), ("test_vit", "blocks.5.", 14), ("test_convnext", "stages.3.", 24)],
)
def test_the_last_stage_is_that_of_the_network_not_what_follows_it(name: str, first: str, count: int) -> None:
    model: nn.Module = timm.create_model(name, num_classes=0)
    tuned = list_tuned(model, "last", name)
    assert tuned[0].startswith(first)
    names = [one for one, _ in model.named_parameters()]
    assert tuned == names[names.index(tuned[0]) :] and len(tuned) <= count


@pytest.mark.parametrize("tuned", ["all", "last"])
def test_a_resumed_step_gives_the_same_bits(tuned: str, settings: NetworkSettings, taught: Taught) -> None:
    kept, keeper = replace(settings, tuned=tuned), builders.MemoryKeeper()
    with pytest.raises(builders.Killed):
        teach(kept, keeper, builders.Killer(3))
    recorder = builders.Recorder()
    resumed = teach(kept, keeper, recorder)
    assert recorder.resumed == [1]
    for one, other in zip(resumed, taught(tuned), strict=True):
        assert builders.same_bits(builders.weights(one.network), builders.weights(other.network))


@pytest.mark.parametrize(
    ("name", "shares"),
    [("test_efficientnet", True), ("test_resnet", True), ("test_convnext", True), ("test_vit", False)],
)
def test_which_models_give_the_same_bits_in_two_parts(name: str, shares: bool) -> None:
    settings = builders.network_settings(backbone=f"timm:{name}", weights="given", tuned="last")
    extractor = build_extractor(settings, 3)
    side = 160 if name == "test_vit" else SIDE
    assert shares_trunk(extractor, side) == shares
    assert not shares_trunk(build_extractor(replace(settings, tuned="all"), 3), side)
    if shares:
        trunk, tail = split(extractor.train(), side)
        assert {*trunk.state_dict()} | {*tail.state_dict()} == {*extractor.state_dict()}
        assert {*trunk.state_dict()}.isdisjoint(tail.state_dict())
        assert not any(value.requires_grad for value in trunk.parameters())
        assert all(value.requires_grad for value in tail.parameters())


def test_one_trunk_serves_all_extractors_and_old_checkpoints_keep_theirs(
    settings: NetworkSettings, taught: Taught, tmp_path: Path
) -> None:
    settings = replace(settings, tuned="last")
    apart = []
    for step, checkpoint in enumerate(taught("last"), start=1):
        network, previous = checkpoint.network, None if step == 1 else tmp_path / "1"
        assert network.trunk is not None
        extractors = [build_extractor(settings, 3) for _ in network.extractors]
        for extractor, tail in zip(extractors, network.extractors, strict=True):
            fill(extractor, network.trunk.state_dict() | tail.state_dict())
        apart.append(Checkpoint(Network(extractors, network.head), checkpoint.metadata))
        save_checkpoint(tmp_path / str(step), checkpoint, previous)
        save_checkpoint(tmp_path / f"old {step}", apart[-1])
    images, (old, new) = torch.rand(5, 3, SIDE, SIDE), (apart[1].network, network)
    for one, other in (
        (old.eval(), new.eval()),
        (fold_network(old, builders.CPU), fold_network(new, builders.CPU)),
    ):
        assert torch.equal(one(images), other(images))
    for one in (old, new):
        one.to(memory_format=torch.channels_last).zero_grad()
        one(images).square().sum().backward()
    for extractor, tail in zip(old.extractors, new.extractors, strict=True):
        found = {name: value.grad for name, value in tail.named_parameters() if value.grad is not None}
        whole = {name: value.grad for name, value in extractor.named_parameters() if value.grad is not None}
        assert found and builders.same_bits(found, whole)
    sizes = [count_parameters(one) for one in (network.trunk, network.extractors[0], network.head)]
    assert checkpoint.metadata.parameters == sizes[0] + 2 * sizes[1] + sizes[2]
    assert (tmp_path / "1/trunk.safetensors").samefile(tmp_path / "2/trunk.safetensors")
    assert builders.same_bits(
        builders.weights(load_checkpoint(tmp_path / "2").network), builders.weights(new)
    )

    before = load_checkpoint(tmp_path / "old 1")
    again = learn_second(before, settings)
    assert again.network.trunk is None and len(again.network.extractors) == 2
    torch.testing.assert_close(again.network.eval()(images), new(images), rtol=1e-3, atol=1e-4)


def test_folding_leaves_no_normalisation_and_the_same_features(taught: Taught) -> None:
    checkpoint = taught("all")[1]
    network = checkpoint.network.eval()
    folded = fold_network(network, builders.CPU)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.extractors[1].modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.extractors[1].modules())
    normalization, pixels = checkpoint.metadata.normalization, builders.random_images(0, 5, SIDE)
    found, expected = (run_network(one, normalization, pixels, builders.CPU) for one in (folded, network))
    torch.testing.assert_close(found.features, expected.features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "timm:resnet18x"}, r"backbone: timm has no model 'resnet18x'; write timm:res"),
        ({"backbone": "timm:"}, r"backbone: timm has no model ''; write one of timm\.list_models"),
        ({"backbone": "timm:resnet50.no_such"}, r"backbone: timm has no model 'resnet50\.no_such'"),
        ({"backbone": "resnet", "depth": 18}, r"weights: backbone resnet starts at random; write nu"),
        (
            {"backbone": "timm:botnet50ts_256", "weights": "pretrained"},
            r"weights: timm has none of timm:botnet50ts_256; write the path of a file",
        ),
        ({"weights": None, "tuned": "last"}, r"tuned: last would keep weights that are random; "),
        ({"weights": None, "tuned": "none"}, r"tuned: none would keep weights that are random; "),
        ({"tuned": "none", "head_bias": False}, r"head_bias: false, but what is fitted to a frozen network"),
    ],
)
def test_settings_that_describe_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"^network\.{message}"):
        choose_backbone(builders.network_settings(**{"backbone": BACKBONE, "weights": "a", **changes}))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError) as caught:
        choose_backbone(builders.network_settings(backbone=BACKBONE))
    assert str(caught.value) == (
        f"network.backbone: {BACKBONE} needs timm, which is missing; pip install 'der-pipeline[photos]'"
    )


def test_a_model_of_one_side_refuses_others() -> None:
    extractor = build_extractor(builders.network_settings(backbone="timm:test_vit"), 3).eval()
    with pytest.raises(UserError, match=r"takes images of 160 pixels alone, not of 32; give images of 160$"):
        extractor(torch.zeros(1, 3, SIDE, SIDE))
    assert choose_backbone(builders.network_settings(backbone="timm:test_vit")).fixed_side


def test_a_model_that_does_not_tell_its_stages() -> None:
    with pytest.raises(UserError, match=r"^network\.tuned: timm:x does not tell its stages; write all"):
        list_tuned(nn.Linear(1, 1), "last", "x")
