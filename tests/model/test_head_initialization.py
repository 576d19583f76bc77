"""How new classifiers are drawn, against the formulas of the programs that draw them so."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from der.model.head_initialization import (
    HEAD_INITIALIZATIONS,
    HeadInitialization,
    lecun_normal,
    lecun_uniform,
    torch_uniform,
)
from der.model.network import blank_linear

D, C = 48, 20_000  # features, classes: as many draws as tell a per mille of the deviation


def drawn(name: str, features: int = D, classes: int = C, bias: bool = True, seed: int = 0) -> nn.Linear:
    layer = blank_linear(features, classes, bias)
    HEAD_INITIALIZATIONS[name](layer, torch.Generator().manual_seed(seed))
    return layer


def moments(values: torch.Tensor) -> tuple[float, float, float]:
    """Mean, deviation, and kurtosis: 1.8 of a uniform draw, 3 of a normal one."""
    values = values.detach().double()
    centred = values - values.mean()
    variance = centred.square().mean()
    return float(values.mean()), float(variance.sqrt()), float(centred.pow(4).mean() / variance**2)


@pytest.mark.parametrize(
    ("name", "deviation", "kurtosis"),
    [
        ("torch_uniform", 1 / math.sqrt(3 * D), 1.8),
        ("lecun_uniform", 1 / math.sqrt(D), 1.8),
        ("lecun_normal", 1 / math.sqrt(D), 3.0),
    ],
)
def test_moments_of_the_weights(name: str, deviation: float, kurtosis: float) -> None:
    mean, found, shape = moments(drawn(name).weight)
    count = D * C
    assert abs(mean) < 5 * deviation / math.sqrt(count)
    assert found == pytest.approx(deviation, rel=5 / math.sqrt(count))
    assert shape == pytest.approx(kurtosis, abs=0.03)


@pytest.mark.parametrize(
    ("name", "bound"), [("torch_uniform", 1 / math.sqrt(D)), ("lecun_uniform", math.sqrt(3 / D))]
)
def test_bounds_of_the_uniform_ones(name: str, bound: float) -> None:
    weights = drawn(name).weight.detach()
    largest, smallest = float(weights.max()), float(weights.min())
    assert 0.9999 * bound < largest <= bound * (1 + 1e-6)
    assert 0.9999 * bound < -smallest <= bound * (1 + 1e-6)
    quarters = torch.histc(weights, bins=4, min=-bound, max=bound)
    assert (quarters / weights.numel() * 4 - 1).abs().max() < 0.01


def test_the_normal_one_is_not_truncated() -> None:
    weights = drawn("lecun_normal").weight.detach() * math.sqrt(D)
    for deviations in (1, 2, 3):
        share = float((weights.abs() > deviations).double().mean())
        assert share == pytest.approx(math.erfc(deviations / math.sqrt(2)), rel=0.05)


def test_biases() -> None:
    mean, deviation, kurtosis = moments(drawn("torch_uniform").bias)
    assert abs(mean) < 5 * deviation / math.sqrt(C)
    assert deviation == pytest.approx(1 / math.sqrt(3 * D), rel=0.03) and kurtosis == pytest.approx(
        1.8, abs=0.1
    )
    for name in ("lecun_uniform", "lecun_normal"):
        assert not drawn(name).bias.any()


@pytest.mark.parametrize("name", HEAD_INITIALIZATIONS)
def test_a_draw_is_a_function_of_the_generator(name: str) -> None:
    first, again, other = drawn(name, 5, 4), drawn(name, 5, 4), drawn(name, 5, 4, seed=1)
    assert torch.equal(first.weight, again.weight) and torch.equal(first.bias, again.bias)
    assert not torch.isclose(first.weight, other.weight).any()


@pytest.mark.parametrize("name", HEAD_INITIALIZATIONS)
def test_without_biases_the_weights_are_the_same(name: str) -> None:
    layer = drawn(name, 5, 4, bias=False)
    assert layer.bias is None
    assert torch.equal(layer.weight, drawn(name, 5, 4).weight)


@pytest.mark.parametrize(
    ("draw", "torchs"),
    [
        (torch_uniform, lambda layer: layer.reset_parameters()),
        (lecun_uniform, lambda layer: nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")),
        (lecun_normal, lambda layer: nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")),
    ],
)
def test_torchs_own_functions_draw_the_same_numbers(
    draw: HeadInitialization, torchs: Callable[[nn.Linear], object]
) -> None:
    layer, own = nn.Linear(D, 30), blank_linear(D, 30, bias=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torchs(layer)
    draw(own, torch.Generator().manual_seed(3))
    torch.testing.assert_close(own.weight, layer.weight, rtol=1e-5, atol=1e-7)
