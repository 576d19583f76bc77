"""Layers on processors, in training and frozen, against formulas in float64 and torch's own gradients."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.model.kernels import processor
from der.model.kernels.layers import ConvNorm, FusedLayers, fork
from der.model.kernels.processor import (
    Kernels,
    Unavailable,
    compile_source,
    compiled_kernels,
    folded_layer,
    serves_folded,
)
from tests.builders import same_bits, weights

BOUNDS = {torch.float32: 3e-6, torch.bfloat16: 2e-2}
# Channels and pixels: one tile, several, chunks of several tiles, rows that no four divide.
SHAPES = [(2, 16, 3, 3), (5, 32, 7, 9), (2, 48, 5, 5), (70, 16, 32, 32), (3, 512, 2, 2)]

pytestmark = pytest.mark.slow


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x


def error_of(found: Tensor | None, expected: Tensor | None) -> float:
    """The largest, relative to the largest value."""
    assert found is not None and expected is not None
    return float((found.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize(
    ("two", "added", "relu"),
    [(False, False, False), (False, True, True), (True, False, True), (True, True, False)],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_against_the_formulas(
    shape: tuple[int, int, int, int], two: bool, added: bool, relu: bool, dtype: torch.dtype, kernels: Kernels
) -> None:
    channels, bound = shape[1], BOUNDS[dtype]
    z, dy = (random(*shape, seed=seed, dtype=dtype) for seed in (1, 2))
    z += 30  # what sums of squares would not survive
    residual = random(*shape, seed=3, dtype=dtype) if added else None
    beside = random(*shape, seed=6, dtype=dtype) if two else None
    scale, shift = random(channels, seed=4), random(channels, seed=5)
    norm = nn.BatchNorm2d(channels, momentum=0.3)
    found = kernels.normalize(z, norm, scale, shift, residual, relu)
    grads = kernels.differentiate(dy, beside, z, found, scale, shift, added, relu)
    inputs = [z, scale, shift, *([residual] if residual is not None else [])]
    wide = [one.double().requires_grad_() for one in inputs]
    mean, variance = wide[0].mean((0, 2, 3)), wide[0].var((0, 2, 3), unbiased=False)
    x = (wide[0] - mean[:, None, None]) / (variance + norm.eps).sqrt()[:, None, None]
    expected = x * wide[1][:, None, None] + wide[2][:, None, None] + (wide[3] if added else 0)
    expected = F.relu(expected) if relu else expected
    expected.backward(dy.double() + (beside.double() if beside is not None else 0))

    count = z.numel() // channels
    assert found.y.dtype == dtype and error_of(found.y, expected.detach()) <= bound
    assert error_of(norm.running_mean, 0.3 * mean.detach()) <= 1e-6
    assert error_of(norm.running_var, 0.7 + 0.3 * variance.detach() * count / (count - 1)) <= 1e-5
    for found_gradient, one in zip((*grads[:3], grads.dresidual), [*wide, None], strict=False):
        if one is not None:
            assert error_of(found_gradient, one.grad) <= 5 * bound
    assert (grads.dresidual is None) == (not added)


def test_numbers_that_are_none_stay_so(kernels: Kernels) -> None:
    full = torch.tensor([0x7FFF], dtype=torch.int16).view(torch.bfloat16)  # a NaN as well
    for value in (float("nan"), float("inf"), full):
        z = random(2, 16, 4, 4, seed=1, dtype=torch.bfloat16)
        z[0, 3, 0, 0] = value
        norm = nn.BatchNorm2d(16)
        y = kernels.normalize(z, norm, torch.ones(16), torch.zeros(16), None, True).y
        assert y[:, 3].isnan().any() and y[:, :3].isfinite().all()


def trained_layer(
    dtype: torch.dtype, kernels: Kernels | None, form: tuple[int, int, int, int], added: bool, gated: bool
) -> list[Tensor]:
    """The output of a layer, its gradients, and what its statistics become."""
    channels_in, channels, kernel, stride = form
    torch.manual_seed(0)
    layer = ConvNorm(channels_in, channels, kernel, stride).to(memory_format=torch.channels_last)
    nn.init.normal_(layer.norm.weight)
    wide = kernels is None
    if kernels is None:
        layer = layer.double()
        with torch.no_grad():  # the values that the convolution sees
            layer.conv.weight.copy_(layer.conv.weight.to(dtype))
    prepared = None if kernels is None else FusedLayers(layer, dtype, kernels)
    x = random(4, channels_in, 9, 9, seed=1, dtype=dtype)
    x = (x.double() if wide else x).requires_grad_()
    gate = random(channels, seed=2)
    gate = (gate.double() if wide else gate).requires_grad_()
    layer.gate = gate if gated else None
    shape = layer.conv(x if wide else x.float()).shape
    residual, dy = (random(*shape, seed=seed, dtype=dtype) for seed in (3, 4))
    residual, dy = (one.double() if wide else one for one in (residual, dy))
    residual.requires_grad_()
    y = layer(x, residual if added else None)
    y.backward(dy)
    found = [y.detach(), x.grad, *(value.grad for value in layer.parameters())]
    found += [residual.grad] * added + [gate.grad] * gated
    if prepared is not None:
        prepared.release()
    assert layer.kernels is None and layer.values is None
    return [*[one for one in found if one is not None], layer.norm.running_mean, layer.norm.running_var]


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize(
    ("form", "added", "gated"),
    [((3, 16, 3, 1), False, False), ((16, 32, 3, 2), True, True), ((16, 32, 1, 2), True, False)],
)
def test_a_layer_against_torch_in_float64(
    form: tuple[int, int, int, int], added: bool, gated: bool, dtype: torch.dtype, kernels: Kernels
) -> None:
    found = trained_layer(dtype, kernels, form, added, gated)
    expected = trained_layer(dtype, None, form, added, gated)
    assert len(found) == len(expected) == 7 + added + gated
    for one, other in zip(found, expected, strict=True):
        difference = (one.double() - other).abs()
        # A value near zero may fall on the other side of the ReLU: then single gradients differ.
        assert difference.quantile(0.97) <= 5 * BOUNDS[dtype] * other.abs().max()


def test_the_same_bits_with_any_number_of_threads_and_every_time(kernels: Kernels) -> None:
    usual = torch.get_num_threads()
    z, dy = (random(70, 16, 32, 32, seed=seed, dtype=torch.bfloat16) for seed in (1, 2))
    found = []
    for threads in (1, 2, 3, 2):
        torch.set_num_threads(threads)
        norm, ones, zeros = nn.BatchNorm2d(16), torch.ones(16), torch.zeros(16)
        done = kernels.normalize(z, norm, ones, zeros, dy, True)
        grads = kernels.differentiate(dy, None, z, done, ones, zeros, True, True)
        values = dict(enumerate([*done, *grads])) | weights(norm)
        found.append({str(name): value for name, value in values.items() if value is not None})
    torch.set_num_threads(usual)
    assert all(same_bits(one, found[0]) for one in found)


@pytest.mark.parametrize("used", [(True, True), (True, False), (False, True)])
def test_gradients_of_two_ways_meet_in_the_layer(used: tuple[bool, bool], kernels: Kernels) -> None:
    layer = ConvNorm(16, 16).to(memory_format=torch.channels_last)
    found = []
    for kind in (kernels, None):
        layer.kernels = kind
        x = random(2, 16, 6, 6, seed=1).requires_grad_()
        ways = fork(layer(x))
        losses = [
            way.pow(power).sum() for way, power, is_used in zip(ways, (2, 3), used, strict=True) if is_used
        ]
        torch.stack(losses).sum().backward()
        assert x.grad is not None
        found.append(x.grad)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_what_they_cannot_take_is_torch_s(kernels: Kernels) -> None:
    layer, plain = (ConvNorm(3, 24) for _ in range(2))
    plain.load_state_dict(layer.state_dict())
    layer.kernels = kernels
    x = random(2, 3, 8, 8, seed=1)
    assert torch.equal(layer(x), plain(x))
    assert fork(x) == (x, x)
    assert not kernels.serve(x.double(), 16)


FORMS = [(3, 16, 3, 1), (16, 16, 3, 1), (16, 32, 3, 2), (16, 32, 1, 2), (3, 8, 7, 2), (5, 7, 3, 1)]


def random_conv(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2).requires_grad_(False)
    for values in conv.parameters():
        values.normal_(generator=torch.Generator().manual_seed(values.dim()))
    return conv.to(memory_format=torch.channels_last)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_frozen_layer_against_convolution_addition_and_relu(
    form: tuple[int, int, int, int], added: bool, relu: bool, dtype: torch.dtype, bound: float
) -> None:
    conv, x = random_conv(*form), random(4, form[0], 9, 9, seed=9, dtype=dtype)
    if not serves_folded(x):
        pytest.skip("torch without oneDNN, or a processor without bfloat16")
    wide = conv.double()
    expected = wide(x.double())
    residual = random(*expected.shape, seed=8, dtype=dtype) if added else None
    if residual is not None:
        expected = expected + residual.double()
    expected = F.relu(expected) if relu else expected
    found = folded_layer(x, random_conv(*form), residual, relu)
    assert found.dtype == dtype
    assert error_of(found, expected) <= bound


@pytest.mark.parametrize(
    ("program", "patience", "message"),
    [
        (None, 60, r"^there is no C\+\+ compiler, neither \S*/no nor \S*/gpp$"),
        (b"printf 'error: d\351sol\351' >&2; exit 1", 60, r"cannot compile what .* \(error: d.sol.\)$"),
        (b"exec sleep 60", 0.1, r"gpp has not compiled what is needed in 0\.1 seconds$"),
    ],
    ids=["none", "complains in bytes of its own", "hangs"],
)
def test_a_compiler_that_does_not_do(
    program: bytes | None, patience: float, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gpp"
    if program is not None:
        path.write_bytes(b"#!/bin/sh\n" + program + b"\n")
        path.chmod(0o755)
    monkeypatch.setattr(processor, "COMPILERS", (f"{tmp_path}/no", str(path)))
    monkeypatch.setattr(processor, "PATIENCE", patience)
    with pytest.raises(Unavailable, match=message):
        compile_source(f"int {program!r};")


@pytest.mark.usefixtures("kernels")
def test_what_does_not_compile_and_what_does_not_load() -> None:
    with pytest.raises(Unavailable, match=r"cannot compile what is needed \(.*error.*\)$"):
        compile_source("this is no C++")
    with pytest.raises(Unavailable, match=r"cannot be loaded \(.*nowhere.*\)$"):
        compile_source('extern "C" void nowhere(); extern "C" void call() { nowhere(); }')


@pytest.mark.usefixtures("kernels")
def test_a_library_that_lacks_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "SOURCE", 'extern "C" void other() {}')
    with pytest.raises(Unavailable, match=r"lacks a kernel \(.*normalize"):
        compiled_kernels()
