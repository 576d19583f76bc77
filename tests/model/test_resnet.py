"""The feature extractor against hand-made parts and published counts."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet

from der.model.backbones import build_extractor, initialize_extractor
from der.model.resnet import PadShortcut, ResNet
from der.settings.sections import NetworkSettings
from tests.builders import CHANNELS, NETWORK, RESNET18, network_settings, random_extractor, same_bits, weights


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def settings(depth: int) -> NetworkSettings:
    return network_settings(depth=depth)


def test_parameters_of_resnet32() -> None:
    assert count(build_extractor(settings(32), channels=3)) == 463_504


@pytest.mark.parametrize("depth", [8, 20, 44])
@pytest.mark.parametrize("channels", [1, 3])
def test_parameters_by_formula(depth: int, channels: int) -> None:
    blocks = (depth - 2) // 6
    expected = 9 * channels * 16 + 2 * 16
    for width, before in ((16, 16), (32, 16), (64, 32)):
        expected += 9 * width * (before + (2 * blocks - 1) * width) + 2 * blocks * 2 * width
    assert count(build_extractor(settings(depth), channels)) == expected


DEPTH = NETWORK.depth

# What the notebook counts and we do not have: a 10-way linear layer in each extractor that nothing uses.
UNUSED = 64 * 10 + 10


@pytest.mark.parametrize(
    ("step", "total", "trainable"),
    [(1, 467_469, 467_469), (2, 936_448, 472_294), (3, 1_408_627, 480_319)],
)
def test_parameters_that_the_notebook_counted(step: int, total: int, trainable: int) -> None:
    extractor = count(build_extractor(settings(32), channels=3))
    classes = 25 * step
    head = 64 * step * classes + classes
    auxiliary = 64 * 26 + 26
    assert step * (extractor + UNUSED) + head + auxiliary == total
    assert extractor + UNUSED + head + auxiliary == trainable


def test_shortcut_by_hand() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4) + torch.tensor([0.0, 100.0])[:, None, None]
    y = PadShortcut([0, 1, -1, -1], channels_in=2, stride=2)(x)
    expected = [[[0, 2], [8, 10]], [[100, 102], [108, 110]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]
    torch.testing.assert_close(y, torch.tensor([expected], dtype=torch.float32), rtol=0, atol=0)


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
        for block in range((DEPTH - 2) // 6):
            stride = 2 if stage > 0 and block == 0 else 1
            y = conv_bn(conv_bn(x, stride).relu())
            short = x[:, :, ::2, ::2] if stride == 2 else x
            zeros = torch.zeros(len(x), y.shape[1] - short.shape[1], *y.shape[2:], dtype=x.dtype)
            x = (y + torch.cat([short, zeros], 1)).relu()
    assert next(convolutions, None) is None
    return x.flatten(2).sum(2) / (x.shape[2] * x.shape[3])


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 8), (3, 9)])
def test_forward_against_the_textbook(channels: int, side: int) -> None:
    extractor = random_extractor(1, channels)
    x = torch.randn(4, channels, side, side, generator=torch.Generator().manual_seed(0))
    features = extractor(x)
    assert features.shape == (4, extractor.features)
    torch.testing.assert_close(features.double(), textbook_forward(extractor, x), rtol=1e-4, atol=1e-5)


def test_features_of_half_precision_are_averaged_in_float32() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert random_extractor(1)(x.bfloat16()).dtype == torch.float32


@pytest.fixture(scope="module")
def initialized() -> ResNet:
    extractor = build_extractor(settings(32), channels=3)
    initialize_extractor(extractor, NETWORK, torch.Generator().manual_seed(0))
    return extractor


def test_convolutions_start_with_the_deviation_of_their_output_channels(initialized: ResNet) -> None:
    convolutions = [module for module in initialized.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 31
    for convolution in convolutions:
        expected = math.sqrt(2 / (9 * convolution.out_channels))
        values = convolution.weight.detach().double() / expected
        error = values.numel() ** -0.5  # of the mean, in units of the deviation
        assert abs(values.mean()) < 4 * error
        assert abs(values.std() - 1) < 4 * error / math.sqrt(2)
        assert convolution.bias is None


def test_batch_normalisation_starts_as_identity(initialized: ResNet) -> None:
    normalisations = [module for module in initialized.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(normalisations) == 31
    for bn in normalisations:
        assert bn.weight.eq(1).all() and bn.bias.eq(0).all()
        assert bn.running_mean is not None and bn.running_mean.eq(0).all()
        assert bn.running_var is not None and bn.running_var.eq(1).all()


def test_initialisation_is_a_function_of_the_generator() -> None:
    first, again, other = (build_extractor(settings(8), 3) for _ in range(3))
    for extractor, seed in ((first, 1), (again, 1), (other, 2)):
        initialize_extractor(extractor, NETWORK, torch.Generator().manual_seed(seed))
    assert same_bits(weights(first), weights(again))
    assert not same_bits(weights(first), weights(other))


RESNETS = [(18, "small"), (18, "large"), (34, "small"), (34, "large")]


def test_parameters_of_resnet18() -> None:
    assert count(build_extractor(RESNET18, channels=3)) == 11_168_832
    assert build_extractor(RESNET18, channels=3).features == 512


@pytest.mark.parametrize(("depth", "stem"), RESNETS)
def test_larger_resnets_against_torchvision(depth: int, stem: str) -> None:
    extractor = random_extractor(1, settings=network_settings(backbone="resnet", depth=depth, stem=stem))
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
    assert count(extractor) == count(theirs)


@pytest.mark.parametrize(
    ("side", "sides"), [(64, [16, 16, 8, 4, 2]), (128, [32, 32, 16, 8, 4]), (224, [56, 56, 28, 14, 7])]
)
def test_the_large_stem_brings_images_to_a_quarter(side: int, sides: list[int]) -> None:
    extractor = build_extractor(network_settings(backbone="resnet", depth=18, stem="large"), 3).eval()
    shapes: list[tuple[int, ...]] = []
    for module in [extractor.pool, *extractor.stages]:
        module.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    with torch.no_grad():
        assert extractor(torch.zeros(1, 3, side, side)).shape == (1, 512)
    widths = [64, 64, 128, 256, 512]
    assert shapes == [(1, width, one, one) for width, one in zip(widths, sides, strict=True)]


def test_blocks_of_a_larger_resnet_start_as_their_shortcuts() -> None:
    extractor = build_extractor(RESNET18, 3)
    initialize_extractor(extractor, RESNET18, torch.Generator().manual_seed(0))
    for name, module in extractor.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(0 if ".second." in name else 1).all(), name
    extractor.eval()
    block = extractor.stages[0][0]  # type: ignore[index]
    x = torch.rand(2, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x)


def test_convolutions_of_a_larger_resnet_start_with_the_deviation_of_their_outputs() -> None:
    extractor = build_extractor(network_settings(backbone="resnet", depth=18, stem="large"), CHANNELS)
    initialize_extractor(extractor, RESNET18, torch.Generator().manual_seed(0))
    convolutions = [module for module in extractor.modules() if isinstance(module, nn.Conv2d)]
    assert [one.kernel_size[0] for one in convolutions].count(1) == 3
    assert len(convolutions) == 1 + 16 + 3
    for one in convolutions:
        expected = math.sqrt(2 / (one.kernel_size[0] ** 2 * one.out_channels))
        error = one.weight.numel() ** -0.5
        assert abs(one.weight.std().item() / expected - 1) < 4 * error / math.sqrt(2)


def test_a_shortcut_between_pruned_streams_by_hand() -> None:
    # Channels 1 and 3 enter, of which 1 goes on; 0 and 4 are zeros.
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    y = PadShortcut([-1, 0, -1], channels_in=2, stride=2)(x)
    assert y.flatten().tolist() == [0.0, 0.0, 0.0]
    y = PadShortcut([-1, 1, 0, -1], channels_in=2, stride=1)(x)
    assert y[0, :, 0, 1].tolist() == [0.0, 5.0, 1.0, 0.0]
