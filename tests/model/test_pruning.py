"""Pruned extractors: as the masked ones, smaller, and a start for the next."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from der.model.architecture import Shape
from der.model.backbones import build_extractor, choose_backbone
from der.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from der.model.expansion import expand
from der.model.kernels.folding import fold_batchnorm
from der.model.kernels.layers import ConvNorm
from der.model.metadata import save_empty_checkpoint
from der.model.network import Network, count_parameters, empty_network, prune_newest
from der.model.pruning import copy_channels
from der.model.resnet import ResNet
from der.settings.sections import (NetworkSettings)
from der.train.batches import (Draws, TrainingImages)
from der.train.masks import ChannelMasks
from der.train.step import learn_representation
from tests.builders import (
    CHANNELS,
    NETWORK,
    NO_AUGMENTATION,
    NORMALIZATION,
    RESNET18,
    Recorder,
    build_engine,
    build_objective,
    draws_of,
    incremental_settings,
    mask_settings,
    network_settings,
    phase_settings,
    random_extractor,
    random_network,
    same_bits,
    step_run,
    take_step,
    train_settings,
    training_images,
    weights,
)

BACKBONES = [NETWORK, network_settings(depth=14), RESNET18]
IDS = ["cifar_resnet 8", "cifar_resnet 14", "resnet 18"]


def pictures(count: int = 4, side: int = 8) -> torch.Tensor:
    return torch.randn(count, CHANNELS, side, side, generator=torch.Generator().manual_seed(0))


def hardened(settings: NetworkSettings, seed: int, **changes: Any) -> tuple[ResNet, ChannelMasks]:
    extractor = random_extractor(seed, settings=settings)
    masks = ChannelMasks(extractor, mask_settings(**changes), torch.Generator().manual_seed(seed))
    masks.harden()
    return extractor, masks


def prune(extractor: ResNet, masks: ChannelMasks, settings: NetworkSettings) -> ResNet:
    pruned = build_extractor(settings, CHANNELS, masks.shape())
    copy_channels(extractor, pruned)
    return pruned.eval()


@pytest.mark.parametrize("settings", BACKBONES, ids=IDS)
@pytest.mark.parametrize("start", [-0.8, 0.0, 0.8])
@torch.no_grad()
def test_pruned_equals_masked(settings: NetworkSettings, start: float) -> None:
    for seed in (1, 2):
        extractor, masks = hardened(settings, seed, start_mean=start)
        pruned = prune(extractor, masks, settings)
        full, small = extractor(pictures(side=9)), pruned(pictures(side=9))
        kept = masks.shape().streams[-1]
        assert small.shape == (4, len(kept)) and len(kept) < extractor.features
        scale = full.abs().max().item()
        torch.testing.assert_close(small, full[:, kept], rtol=0, atol=1e-5 * scale)
        gone = sorted(set(range(extractor.features)) - set(kept))
        assert full[:, gone].eq(0).all()
        wide, narrow = (
            extractor.double()(pictures(side=9).double()),
            pruned.double()(pictures(side=9).double()),
        )
        torch.testing.assert_close(narrow, wide[:, kept].to(narrow.dtype), rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("settings", BACKBONES, ids=IDS)
@torch.no_grad()
def test_a_pruned_extractor_can_be_folded(settings: NetworkSettings) -> None:
    pruned = prune(*hardened(settings, 1), settings)
    expected = pruned(pictures())
    difference = (fold_batchnorm(pruned)(pictures()) - expected).abs().max()
    assert difference <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("settings", BACKBONES, ids=IDS)
def test_parameters_of_a_pruned_extractor_by_formula(settings: NetworkSettings) -> None:
    extractor, masks = hardened(settings, 1)
    shape = masks.shape()
    before = len(shape.streams[0])
    expected = 9 * CHANNELS * before + 2 * before
    for index, (stream, inner) in enumerate(zip(shape.streams, shape.inner, strict=True)):
        for block, kept in enumerate(inner):
            expected += 9 * before * len(kept) + 9 * len(kept) * len(stream) + 2 * len(kept) + 2 * len(stream)
            if settings is RESNET18 and index and not block:
                expected += before * len(stream) + 2 * len(stream)
            before = len(stream)
    pruned = prune(extractor, masks, settings)
    assert count_parameters(pruned) == expected < 0.5 * count_parameters(extractor)
    assert pruned.is_pruned and not extractor.is_pruned
    assert pruned.features == len(shape.streams[-1])


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_pruning_leaves_the_logits(bias: bool) -> None:
    settings = network_settings(head_bias=bias)
    network = random_network([3, 2])
    if not bias:
        network.head.register_parameter("bias", None)
    masks = ChannelMasks(network.extractors[-1], mask_settings(), torch.Generator().manual_seed(0))
    masks.harden()
    before, frozen = network(pictures()), weights(network.extractors[0])
    pruned = prune_newest(network, masks.shape(), settings).eval()
    masks.release()
    assert pruned.head.weight.shape == (5, 64 + len(masks.shape().streams[-1]))
    assert (pruned.head.bias is not None) is bias
    torch.testing.assert_close(pruned(pictures()), before, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(network(pictures()), before)  # without the masks
    assert pruned.extractors[0] is network.extractors[0]
    assert same_bits(weights(pruned.extractors[0]), frozen)


def drop(extractor: ResNet, settings: NetworkSettings) -> Shape:
    """Every third channel of each list is missing, from another start each time."""
    lists = iter(range(100))

    def thin(channels: list[int]) -> list[int]:
        start = next(lists) % 3
        return [channel for channel in channels if channel % 3 != start]

    full = choose_backbone(settings).full_shape
    assert full is not None
    return Shape([thin(one) for one in full.streams], [[thin(one) for one in stage] for stage in full.inner])


def spread(kept: list[int], size: int) -> torch.Tensor:
    on = torch.zeros(size, dtype=torch.bool)
    on[kept] = True
    return on


@pytest.mark.parametrize("settings", BACKBONES, ids=IDS)
def test_a_full_extractor_takes_the_channels_it_shares_with_a_pruned_one(settings: NetworkSettings) -> None:
    target = random_extractor(2, settings=settings)
    before = copy.deepcopy(target)
    shape = drop(target, settings)
    source = build_extractor(settings, CHANNELS, shape)
    for value in source.state_dict().values():
        value.uniform_(5, 6)  # unlike any in the target
    copy_channels(source, target)

    def check(trio: list[ConvNorm], outputs: list[int], inputs: list[int]) -> None:
        old, new, came = trio
        on = spread(outputs, len(old.conv.weight))[:, None] & spread(inputs, old.conv.in_channels)
        assert torch.equal(new.conv.weight[~on], old.conv.weight[~on])
        assert torch.equal(new.conv.weight[on], came.conv.weight.flatten(0, 1))
        rows = spread(outputs, len(old.conv.weight))
        for name, value in new.norm.state_dict().items():
            assert torch.equal(value[~rows], old.norm.state_dict()[name][~rows])
            assert torch.equal(value[rows], came.norm.state_dict()[name])

    check([before.stem, target.stem, source.stem], shape.streams[0], [0, 1, 2])
    entering = shape.streams[0]
    for index, stream in enumerate(shape.streams):
        stages = [list(one.stages[index].children()) for one in (before, target, source)]
        for inner, *trio in zip(shape.inner[index], *stages, strict=True):
            check([block.first for block in trio], inner, entering)
            check([block.second for block in trio], stream, inner)
            if any(True for _ in trio[0].shortcut.parameters()):
                check([block.shortcut for block in trio], stream, entering)
            entering = stream


def test_copying_all_channels_is_a_copy() -> None:
    source, target = random_extractor(1), random_extractor(2)
    copy_channels(source, target)
    assert same_bits(weights(source), weights(target))


def test_the_next_extractor_starts_whole_from_a_pruned_one() -> None:
    network = random_network([3, 2])
    masks = ChannelMasks(network.extractors[-1], mask_settings(), torch.Generator().manual_seed(0))
    pruned = prune_newest(network, masks.shape(), NETWORK)
    grown = expand(pruned, 2, NETWORK, CHANNELS, torch.Generator().manual_seed(1))
    newest = grown.extractors[-1]
    assert not newest.is_pruned
    assert [one is other for one, other in zip(grown.extractors, pruned.extractors, strict=False)] == [
        True
    ] * 2
    fresh = expand(empty_network(), 2, NETWORK, CHANNELS, torch.Generator().manual_seed(1)).extractors[0]
    rows = masks.shape().streams[0]
    gone = sorted(set(range(16)) - set(rows))
    assert torch.equal(newest.stem.conv.weight[rows], pruned.extractors[1].stem.conv.weight)
    assert torch.equal(newest.stem.conv.weight[gone], fresh.stem.conv.weight[gone])
    assert grown.head.weight.shape == (7, pruned.head.in_features + 64)
    assert torch.equal(grown.head.weight[:5, : pruned.head.in_features], pruned.head.weight)


def masked_steps() -> list[Checkpoint]:
    settings = train_settings(
        masks=mask_settings(rate_factor=100.0, start_mean=0.2, sparsity_weight=0.5),
        base=phase_settings(),
        incremental=incremental_settings(rebalancing="none"),
    )
    names = [["a", "b"], ["c", "d"], ["e"]]
    counts = [[9, 9], [3, 3, 9, 9], [2, 2, 3, 3, 9]]
    checkpoints: list[Any] = [None]
    for step, count in enumerate(counts, start=1):
        images = training_images(step, count)
        checkpoints.append(take_step(checkpoints[-1], names[:step], images, settings, Recorder()))
    return checkpoints


@pytest.fixture(scope="module")
def steps() -> list[Checkpoint]:
    return masked_steps()


def test_every_step_stores_a_smaller_extractor(steps: list[Checkpoint]) -> None:
    whole = count_parameters(build_extractor(NETWORK, CHANNELS))
    for step, checkpoint in enumerate(steps[1:], start=1):
        extractors, metadata = checkpoint.network.extractors, checkpoint.metadata
        assert len(extractors) == len(metadata.shapes) == step
        assert metadata.shapes == [one.shape for one in extractors]
        assert all(count_parameters(one) < whole for one in extractors)
        assert metadata.parameters == count_parameters(checkpoint.network)
        classes = checkpoint.network.classes
        features = sum(one.features for one in extractors[:-1]) + 64
        new = len(metadata.steps[-1])
        head = features * classes + classes
        e = 2 * (16 + 32 + 64)  # of three streams and three first convolutions
        assert metadata.parameters_trained == whole + head + (64 + 1) * (new + 1) + e
    assert not any(getattr(one, "gate", None) is not None for one in steps[3].network.modules())


def test_earlier_extractors_keep_every_bit(steps: list[Checkpoint]) -> None:
    for before, after in zip(steps[2].network.extractors, steps[3].network.extractors, strict=False):
        assert same_bits(weights(before), weights(after))


def test_masked_steps_repeat_to_the_bit(steps: list[Checkpoint]) -> None:
    for one, other in zip(steps[1:], masked_steps()[1:], strict=True):
        assert same_bits(weights(one.network), weights(other.network))


def test_checkpoints_of_pruned_extractors(steps: list[Checkpoint], tmp_path: Path) -> None:
    save_empty_checkpoint(tmp_path / "0")
    for step, checkpoint in enumerate(steps[1:], start=1):
        save_checkpoint(tmp_path / str(step), checkpoint, tmp_path / str(step - 1))
        read = load_checkpoint(tmp_path / str(step))
        assert read.metadata == checkpoint.metadata
        assert same_bits(weights(read.network), weights(checkpoint.network))
        assert torch.equal(read.network(pictures()), checkpoint.network(pictures()))
    content = json.loads((tmp_path / "3" / "network.json").read_text())
    assert content["shapes"][1]["streams"] == steps[3].network.extractors[1].shape.streams
    whole, pruned = random_network([2]), steps[1].network
    name = "extractor_1.safetensors"
    sizes = 4 * sum(value.numel() for value in pruned.extractors[0].state_dict().values())
    assert sizes < (tmp_path / "1" / name).stat().st_size < sizes + 8000
    assert sizes < 4 * sum(value.numel() for value in whole.extractors[0].state_dict().values())


@torch.no_grad()
def assert_statistics(extractor: ResNet, images: TrainingImages, draws: Draws) -> None:
    """Those of batch normalisation are the means over batches of 8 images, by the images in each."""
    pixels = torch.from_numpy(images.pixels.read(draws.order.numpy())).double() / 255
    x = (pixels - torch.tensor(NORMALIZATION.mean)) / torch.tensor(NORMALIZATION.std)
    reference = copy.deepcopy(extractor).double().train()
    inputs: dict[str, list[torch.Tensor]] = {}
    for name, module in reference.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(
                lambda _module, given, _output, name=name: inputs.setdefault(name, []).append(given[0])
            )
    for batch in x.permute(0, 3, 1, 2).split(8):
        reference(batch)
    for name, seen in inputs.items():
        shares = torch.tensor([len(one) / len(x) for one in seen])[:, None]
        mean = (shares * torch.stack([one.mean((0, 2, 3)) for one in seen])).sum(0)
        variance = (shares * torch.stack([one.transpose(0, 1).flatten(1).var(1) for one in seen])).sum(0)
        norm = extractor.get_submodule(name)
        torch.testing.assert_close(norm.running_mean, mean.float(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, variance.float(), rtol=1e-4, atol=1e-5)


def test_estimated_statistics_are_the_means_over_batches() -> None:
    images = training_images(0, [10, 11])
    network: Network = random_network([2])
    extractor = network.extractors[0]
    engine = build_engine(build_objective(network, 0), [], images, phase_settings(), NO_AUGMENTATION)
    draws = draws_of(21, NO_AUGMENTATION)
    usual = [one.momentum for one in extractor.modules() if isinstance(one, nn.BatchNorm2d)]
    engine.estimate_statistics(extractor, draws)
    assert [one.momentum for one in extractor.modules() if isinstance(one, nn.BatchNorm2d)] == usual
    assert_statistics(extractor, images, draws)


def test_statistics_of_a_pruned_extractor_are_those_without_its_channels() -> None:
    network = random_network([2, 2])
    settings = train_settings(masks=mask_settings(), augmentation=NO_AUGMENTATION)
    images = training_images(0, [3, 3, 7, 6])
    learned = learn_representation(step_run(2, settings), network, images, NETWORK)
    epochs = settings.incremental.epochs
    assert_statistics(
        learned.network.extractors[1], images, draws_of(19, NO_AUGMENTATION, step=2, epoch=epochs)
    )


def test_learning_leaves_no_mask_behind() -> None:
    network = random_network([2, 2])
    settings = train_settings(masks=mask_settings())
    images = training_images(0, [3, 3, 5, 5])
    learned = learn_representation(step_run(2, settings), network, images, NETWORK)
    for module in (*network.modules(), *learned.network.modules()):
        assert getattr(module, "gate", None) is None
    assert learned.network.extractors[0] is network.extractors[0]
    assert learned.network.extractors[1].is_pruned
