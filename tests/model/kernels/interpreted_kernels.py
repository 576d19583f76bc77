"""The Triton kernels against float64, run by Triton's interpreter on the CPU.

Not collected by its name: test_triton.py runs it in a process with TRITON_INTERPRET=1.
"""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.model.kernels import triton
from der.model.kernels.layers import ConvNorm
from der.model.kernels.triton import Moments

# Channels in and out, images, height, width, of which pixels are no multiple of any tile; and the most tiles.
CONVOLUTIONS = [
    ((16, 16, 3, 7, 9), 2),
    ((16, 32, 2, 8, 5), 256),
    ((32, 16, 2, 8, 5), 2),
    ((32, 32, 1, 1, 3), 256),
    ((64, 64, 2, 4, 5), 256),
]


def error(value: Tensor | None, expected: Tensor | None) -> float:
    """Relative, in the norm over all values."""
    assert value is not None and expected is not None
    assert value.shape == expected.shape
    return float((value.double() - expected).norm() / expected.norm())


def noise(seed: int, *shape: int) -> Tensor:
    """Channels last where there are four dimensions."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values


def rows(x: Tensor) -> Tensor:
    """(M, C) float64: every pixel of every image."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).double()


def assert_moments(moments: Moments, x: Tensor) -> None:
    """``moments`` are those of the tiles of ``x``."""
    tiles = rows(x).split(moments.span)
    means = torch.stack([tile.mean(0) for tile in tiles])
    squares = torch.stack([(tile - tile.mean(0)).square().sum(0) for tile in tiles])
    assert moments.means.dtype == moments.squares.dtype == torch.float32
    assert error(moments.means, means) < 1e-6
    assert float(((moments.squares - squares).abs() / (squares + 1e-6)).max()) < 1e-3


@pytest.fixture
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The largest number of tiles, over few pixels at a time: tiles of many loops, and of one."""
    monkeypatch.setattr(triton, "ROWS", {16: 32, 32: 16, 64: 16})
    monkeypatch.setattr(triton, "WEIGHT_ROWS", 16)
    monkeypatch.setattr(triton, "WEIGHT_TILES", dict.fromkeys(triton.WIDTHS, request.param))
    monkeypatch.setattr(triton, "PROGRAM_ROWS", {16: 32, 32: 16, 64: 16})
    monkeypatch.setattr(triton, "MAX_TILES", request.param)
    maximum: int = request.param
    return maximum


@pytest.mark.parametrize(("shape", "tiles"), CONVOLUTIONS, indirect=["tiles"])
def test_convolution_with_its_moments_and_gradients(shape: tuple[int, ...], tiles: int) -> None:
    channels_in, channels_out, images, height, width = shape
    x, weight = noise(0, images, channels_in, height, width), noise(1, channels_out, channels_in, 3, 3)
    dy = noise(2, images, channels_out, height, width)
    exact_x, exact_weight = (value.double().requires_grad_() for value in (x, weight))
    expected = F.conv2d(exact_x, exact_weight, padding=1)
    expected.backward(dy.double())
    y, moments = triton.convolve(x, weight)
    assert error(y, expected.detach()) < 1e-6
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert 1 <= len(moments.means) <= tiles
    assert_moments(moments, y)
    assert error(triton.input_gradient(dy, weight), exact_x.grad) < 1e-6
    dw = triton.weight_gradient(x, dy, weight)
    assert error(dw, exact_weight.grad) < 1e-6
    assert dw.dtype == torch.float32
    assert dw.is_contiguous(memory_format=torch.channels_last)


# Channels past one program's columns, and no power of two; images and side.
@pytest.mark.parametrize(
    ("shape", "relu", "with_residual", "mean", "tiles"),
    [
        ((16, 3, 7), False, False, 0.0, 2),
        ((16, 3, 7), True, True, 1000.0, 256),
        ((24, 2, 5), True, False, 1000.0, 2),
        ((80, 2, 5), False, False, 1000.0, 256),
    ],
    indirect=["tiles"],
)
def test_normalisation_and_its_gradients(
    shape: tuple[int, ...], relu: bool, with_residual: bool, mean: float, tiles: int
) -> None:
    channels, images, side = shape
    x = (3 * noise(0, images, channels, side, side) + mean).contiguous(memory_format=torch.channels_last)
    residual = noise(1, images, channels, side, side) if with_residual else None
    dy = noise(2, images, channels, side, side)
    norm = nn.BatchNorm2d(channels, momentum=0.3)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(noise(3, channels))
    norm.running_var.copy_(1 + noise(4, channels).square())
    scale, shift = noise(5, channels), noise(6, channels)
    exact_x, exact_scale, exact_shift = (value.double().requires_grad_() for value in (x, scale, shift))
    exact_residual = None if residual is None else residual.double().requires_grad_()
    running_mean, running_var = norm.running_mean.double(), norm.running_var.double()

    moments = triton.measure_moments(x)
    assert 1 <= len(moments.means) <= tiles
    assert_moments(moments, x)
    y, center, rstd = triton.normalize(x, moments, norm, scale, shift, residual, relu)
    grads = triton.normalize_gradients(dy, y, x, center, rstd, scale, with_residual, relu)

    exact_y = F.batch_norm(exact_x, running_mean, running_var, exact_scale, exact_shift, True, 0.3, norm.eps)
    exact_y = exact_y if exact_residual is None else exact_y + exact_residual
    exact_y = F.relu(exact_y) if relu else exact_y
    exact_y.backward(dy.double())

    tolerance = 1e-5 if mean == 0 else 1e-3  # a float32 near 1000 is off by up to 3e-5
    assert error(y, exact_y.detach()) < tolerance
    assert error(center, rows(x).mean(0)) < 1e-6
    assert error(rstd, (rows(x).var(0, correction=0) + norm.eps).rsqrt()) < tolerance
    assert error(norm.running_mean, running_mean) < 1e-6
    assert error(norm.running_var, running_var) < tolerance
    assert error(grads.dz, exact_x.grad) < tolerance
    assert error(grads.dscale_C, exact_scale.grad) < tolerance
    assert error(grads.dshift_C, exact_shift.grad) < tolerance
    if exact_residual is None:
        assert grads.dresidual is None
    else:
        assert error(grads.dresidual, exact_residual.grad) < tolerance


def run_layer(
    layer: nn.Module, forward: Callable[..., Tensor], x: Tensor, residual: Tensor | None, dy_seed: int
) -> dict[str, Tensor]:
    """Output, gradients and state after one training pass."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    residual = None if residual is None else residual.clone().requires_grad_()
    y = forward(x, residual)
    y.backward(noise(dy_seed, *y.shape).to(y.dtype))
    assert x.grad is not None
    found = {"y": y.detach(), "dx": x.grad, **layer.state_dict()}
    found |= {f"d {name}": value.grad for name, value in layer.named_parameters() if value.grad is not None}
    if residual is not None:
        assert residual.grad is not None
        found["dresidual"] = residual.grad
    return found


@pytest.fixture
def own_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have float32 take the path that bfloat16 takes."""
    monkeypatch.setattr(triton, "DTYPE", torch.float32)


# Channels in and out, kernel, stride: the first two by Triton's convolutions, the others by the library's.
LAYERS = [(16, 16, 3, 1), (16, 32, 3, 1), (16, 32, 3, 2), (16, 16, 1, 1), (3, 16, 3, 1)]
# With ReLU, with a residual, channels last.
CASES = [
    (LAYERS[0], True, True, True),
    (LAYERS[1], False, False, False),
    (LAYERS[1], True, True, True),
    (LAYERS[2], True, True, False),
    (LAYERS[3], False, True, True),
    (LAYERS[4], True, False, True),
]


def draw_layer(seed: int, channels_in: int, channels: int, kernel: int, stride: int, relu: bool) -> ConvNorm:
    layer = ConvNorm(channels_in, channels, kernel, stride, relu).train()
    for index, value in enumerate(layer.state_dict().values()):
        draw = noise(seed + index, *value.shape)
        value.copy_(draw if value.dim() == 4 else draw.abs() + 0.1)  # among them a variance
    return layer.to(memory_format=torch.channels_last)


@pytest.mark.usefixtures("own_convolutions")
@pytest.mark.parametrize(("kind", "relu", "with_residual", "channels_last"), CASES)
def test_a_layer_trained(kind: tuple[int, ...], relu: bool, with_residual: bool, channels_last: bool) -> None:
    channels_in, channels, kernel, stride = kind
    layer = draw_layer(10, channels_in, channels, kernel, stride, relu)
    assert triton.suits(layer.conv.weight, stride) == (kind in LAYERS[:2])
    exact = copy.deepcopy(layer).double()
    x = noise(0, 3, channels_in, 6, 5)
    residual = (
        noise(1, 3, channels, (5 + stride) // stride, (4 + stride) // stride) if with_residual else None
    )
    if not channels_last:
        x, residual = x.contiguous(), None if residual is None else residual.contiguous()
    found = run_layer(layer, layer.by_triton, x, residual, 2)
    expected = run_layer(exact, exact.forward, x.double(), None if residual is None else residual.double(), 2)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert error(value, expected[name]) < 1e-5, name


@pytest.mark.usefixtures("own_convolutions")
def test_the_gradient_goes_to_the_weight_whose_values_are_used() -> None:
    layer = draw_layer(10, 16, 16, 3, 1, True)
    x, dy = noise(0, 2, 16, 4, 4), noise(1, 2, 16, 4, 4)
    layer.by_triton(x, None).backward(dy)
    expected = layer.conv.weight.grad
    layer.conv.weight.grad = None
    layer.values = layer.conv.weight.detach().clone()
    with torch.no_grad():
        layer.conv.weight.zero_()
    layer.by_triton(x, None).backward(dy)
    assert expected is not None and layer.conv.weight.grad is not None
    assert torch.equal(layer.conv.weight.grad, expected)


@pytest.mark.usefixtures("own_convolutions")
@pytest.mark.parametrize(("kind", "relu", "with_residual"), [case[:3] for case in CASES])
@torch.no_grad()
def test_a_folded_layer(kind: tuple[int, ...], relu: bool, with_residual: bool) -> None:
    channels_in, channels, _, stride = kind
    layer = draw_layer(10, *kind, relu)
    layer.fold()
    x = noise(1, 2, channels_in, 6, 6)
    residual = noise(2, 2, channels, 6 // stride, 6 // stride) if with_residual else None
    assert error(layer.by_triton(x, residual), layer.by_torch(x, residual).double()) < 1e-6
