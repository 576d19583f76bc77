"""Residual extractors against hand-made parts, torchvision and counts; pruned ones against masked ones."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet

from der.model.backbones import choose_backbone
from der.model.checkpoint import Checkpoint, load_checkpoint
from der.model.network import build_extractor, count_parameters, fold_batchnorm, prune_newest
from der.model.resnet import ResNet, copy_channels
from der.settings.sections import NetworkSettings
from der.train.batches import Draws, TrainingImages
from der.train.objective import ChannelMasks
from der.train.step import learn_representation
from tests import builders


@pytest.mark.parametrize("depth", [8, 20, 44])
@pytest.mark.parametrize("channels", [1, 3])
def test_parameters_by_formula(depth: int, channels: int) -> None:
    blocks = (depth - 2) // 6
    expected = 9 * channels * 16 + 2 * 16
    for width, before in ((16, 16), (32, 16), (64, 32)):
        expected += 9 * width * (before + (2 * blocks - 1) * width) + 2 * blocks * 2 * width
    assert count_parameters(build_extractor(builders.network_settings(depth=depth), channels)) == expected


def textbook_forward(extractor: ResNet, x: Tensor) -> Tensor:
    """ResNet of He et al. 2016, section 4.2, in evaluation mode and float64, from functions and tables."""
    modules = list(extractor.modules())
    convolutions = iter([module for module in modules if isinstance(module, nn.Conv2d)])
    normalisations = iter([module for module in modules if isinstance(module, nn.BatchNorm2d)])

    def conv_bn(x: Tensor, stride: int = 1) -> Tensor:
        bn = next(normalisations)
        assert bn.running_mean is not None and bn.running_var is not None
        x = F.conv2d(x, next(convolutions).weight.double(), stride=stride, padding=1)
        x = (x - bn.running_mean.double()[:, None, None]) / torch.sqrt(bn.running_var.double() + 1e-5)[
            :, None, None
        ]
        return x * bn.weight.double()[:, None, None] + bn.bias.double()[:, None, None]

    x = conv_bn(x.double()).relu()
    for stage in range(3):
        for block in range((builders.NETWORK.depth - 2) // 6):
            stride = 2 if stage > 0 and block == 0 else 1
            y = conv_bn(conv_bn(x, stride).relu())
            short = x[:, :, ::2, ::2] if stride == 2 else x
            zeros = torch.zeros(len(x), y.shape[1] - short.shape[1], *y.shape[2:], dtype=x.dtype)
            x = (y + torch.cat([short, zeros], 1)).relu()
    assert next(convolutions, None) is None
    return x.flatten(2).sum(2) / (x.shape[2] * x.shape[3])


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 8), (3, 9)])
def test_forward_against_the_textbook(channels: int, side: int) -> None:
    extractor = builders.random_extractor(1, channels)
    x = torch.randn(4, channels, side, side, generator=torch.Generator().manual_seed(0))
    features = extractor(x)
    assert features.shape == (4, extractor.features)
    torch.testing.assert_close(features.double(), textbook_forward(extractor, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "layers"),
    [(builders.network_settings(depth=32), 31), (builders.RESNET18, 1 + 16 + 3)],
    ids=["32", "18"],
)
def test_initial_values(settings: NetworkSettings, layers: int) -> None:
    """Convolutions have the deviation of their outputs; a block of the larger networks is its shortcut."""
    extractor = build_extractor(settings, channels=3)
    choose_backbone(settings).initialize(extractor, torch.Generator().manual_seed(0))
    convolutions = [module for module in extractor.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == layers
    for one in convolutions:
        values = one.weight.detach().double()
        values /= math.sqrt(2 / (one.kernel_size[0] ** 2 * one.out_channels))
        error = values.numel() ** -0.5  # of the mean, in units of the deviation
        assert abs(values.mean()) < 4 * error and abs(values.std() - 1) < 4 * error / math.sqrt(2)
        assert one.bias is None
    for name, bn in extractor.named_modules():
        if isinstance(bn, nn.BatchNorm2d):
            assert bn.weight.eq(0 if settings is builders.RESNET18 and ".second." in name else 1).all()
            assert bn.running_mean is not None and bn.running_var is not None
            assert bn.bias.eq(0).all() and bn.running_mean.eq(0).all() and bn.running_var.eq(1).all()
    other, again = build_extractor(settings, channels=3), build_extractor(settings, channels=3)
    for twin, seed in ((other, 1), (again, 0)):
        choose_backbone(settings).initialize(twin, torch.Generator().manual_seed(seed))
    assert builders.same_bits(builders.weights(extractor), builders.weights(again))
    assert not builders.same_bits(builders.weights(extractor), builders.weights(other))


@pytest.mark.parametrize(("depth", "stem"), [(18, "large"), (34, "small")])
def test_larger_resnets_against_torchvision(depth: int, stem: str) -> None:
    extractor = builders.random_extractor(
        1, settings=builders.network_settings(backbone="resnet", depth=depth, stem=stem)
    )
    theirs = {18: resnet.resnet18, 34: resnet.resnet34}[depth]()
    theirs.fc = nn.Identity()
    if stem == "small":
        theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    values = {name: one for name, one in theirs.state_dict().items() if "num_batches" not in name}
    for value, ours in zip(values.values(), extractor.state_dict().values(), strict=True):
        value.copy_(ours)
    images = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs.eval()(images)
        torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-4)
    assert count_parameters(extractor) == count_parameters(theirs)


def pictures(count: int = 4, side: int = 8) -> torch.Tensor:
    return torch.randn(count, builders.CHANNELS, side, side, generator=torch.Generator().manual_seed(0))


def hardened(settings: NetworkSettings, seed: int, **changes: Any) -> tuple[ResNet, ChannelMasks]:
    extractor = builders.random_extractor(seed, settings=settings)
    masks = ChannelMasks(extractor, builders.mask_settings(**changes), torch.Generator().manual_seed(seed))
    masks.harden()
    return extractor, masks


def prune(extractor: ResNet, masks: ChannelMasks, settings: NetworkSettings) -> ResNet:
    pruned = build_extractor(settings, builders.CHANNELS, masks.shape())
    copy_channels(extractor, pruned)
    return pruned.eval()


@pytest.mark.parametrize(
    ("settings", "starts"),
    [
        (builders.NETWORK, [-0.8, 0.0, 0.8]),
        (builders.network_settings(depth=14), [-0.8, 0.0, 0.8]),
        (builders.RESNET18, [0.0]),
    ],
    ids=["cifar_resnet 8", "cifar_resnet 14", "resnet 18"],
)
@torch.no_grad()
def test_pruned_equals_masked(settings: NetworkSettings, starts: list[float]) -> None:
    for seed, start in enumerate(starts):
        extractor, masks = hardened(settings, seed, start_mean=start)
        pruned = prune(extractor, masks, settings)
        full, small = extractor(pictures(side=9)), pruned(pictures(side=9))
        kept = masks.shape().streams[-1]
        assert small.shape == (4, len(kept)) and len(kept) < extractor.features
        scale = full.abs().max().item()
        torch.testing.assert_close(small, full[:, kept], rtol=0, atol=1e-5 * scale)
        torch.testing.assert_close(fold_batchnorm(pruned)(pictures(side=9)), small, rtol=0, atol=1e-5 * scale)
        gone = sorted(set(range(extractor.features)) - set(kept))
        assert full[:, gone].eq(0).all()
        wide, narrow = (one.double()(pictures(side=9).double()) for one in (extractor, pruned))
        torch.testing.assert_close(narrow, wide[:, kept], rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_pruning_leaves_the_logits(bias: bool) -> None:
    settings = builders.network_settings(head_bias=bias)
    network = builders.random_network([3, 2])
    if not bias:
        network.head.register_parameter("bias", None)
    masks = ChannelMasks(network.extractors[-1], builders.mask_settings(), torch.Generator().manual_seed(0))
    masks.harden()
    before, frozen = network(pictures()), builders.weights(network.extractors[0])
    pruned = prune_newest(network, masks.shape(), settings).eval()
    masks.release()
    assert pruned.head.weight.shape == (5, 64 + len(masks.shape().streams[-1]))
    assert (pruned.head.bias is not None) is bias
    torch.testing.assert_close(pruned(pictures()), before, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(network(pictures()), before)  # without the masks
    assert pruned.extractors[0] is network.extractors[0]
    assert builders.same_bits(builders.weights(pruned.extractors[0]), frozen)


@pytest.mark.parametrize("settings", [builders.NETWORK, builders.RESNET18], ids=["cifar_resnet", "resnet"])
def test_a_full_extractor_takes_the_channels_it_shares_with_a_pruned_one(settings: NetworkSettings) -> None:
    shape = hardened(settings, 1)[1].shape()
    source, again = (build_extractor(settings, builders.CHANNELS, shape) for _ in range(2))
    for value in source.state_dict().values():
        value.uniform_(5, 6)  # unlike any in the target
    target = builders.random_extractor(2, settings=settings)
    copy_channels(source, target)
    taken = sum(int(value.ge(5).sum()) for value in target.state_dict().values())
    assert taken == sum(value.numel() for value in source.state_dict().values())
    copy_channels(target, again)
    assert builders.same_bits(builders.weights(again), builders.weights(source))


@pytest.fixture(scope="module")
def steps() -> list[Any]:
    """None, and the checkpoints of three steps."""
    settings = builders.train_settings(
        masks=builders.mask_settings(rate_factor=100.0, start_mean=0.2, sparsity_weight=0.5),
        base=builders.phase_settings(),
        incremental=builders.incremental_settings(rebalancing="none"),
    )
    names = [["a", "b"], ["c", "d"], ["e"]]
    counts = [[9, 9], [3, 3, 9, 9], [2, 2, 3, 3, 9]]
    checkpoints: list[Checkpoint | None] = [None]
    for step, count in enumerate(counts, start=1):
        images = builders.training_images(step, count)
        checkpoints.append(
            builders.take_step(checkpoints[-1], names[:step], images, settings, builders.Recorder())
        )
    return checkpoints


def test_every_step_stores_a_smaller_extractor(steps: list[Any]) -> None:
    whole = count_parameters(build_extractor(builders.NETWORK, builders.CHANNELS))
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


def test_checkpoints_of_pruned_extractors(steps: list[Any], tmp_path: Path) -> None:
    builders.assert_saved(tmp_path, *steps[1:])
    read = load_checkpoint(tmp_path / "3")
    assert torch.equal(read.network(pictures()), steps[3].network(pictures()))
    size = 4 * sum(value.numel() for value in steps[1].network.extractors[0].state_dict().values())
    assert size < (tmp_path / "1/extractor_1.safetensors").stat().st_size < size + 8000


@torch.no_grad()
def assert_statistics(extractor: ResNet, images: TrainingImages, draws: Draws) -> None:
    """Those of batch normalisation are the means over batches of 8 images, by the images in each."""
    pixels = torch.from_numpy(images.pixels.read(draws.order.numpy())).double() / 255
    x = (pixels - torch.tensor(builders.NORMALIZATION.mean)) / torch.tensor(builders.NORMALIZATION.std)
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


def test_statistics_of_a_pruned_extractor_are_those_without_its_channels() -> None:
    network = builders.random_network([2, 2])
    settings = builders.train_settings(masks=builders.mask_settings(), augmentation=builders.NO_AUGMENTATION)
    images = builders.training_images(0, [3, 3, 7, 6])
    learned, *_ = learn_representation(builders.step_run(2, settings), network, images, builders.NETWORK)
    epochs = settings.incremental.epochs
    draws = builders.draws_of(19, builders.NO_AUGMENTATION, step=2, epoch=epochs)
    assert_statistics(learned.extractors[1], images, draws)
    assert all(getattr(one, "gate", None) is None for one in (*network.modules(), *learned.modules()))
    assert learned.extractors[1].is_pruned
