"""Frozen layers as one operation against the three that it stands for."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from der.model.kernels import onednn
from der.model.kernels.folding import fold_batchnorm
from der.model.kernels.layers import ConvNorm
from tests.builders import random_extractor

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
FORMS = [(3, 16, 3, 1), (16, 16, 3, 1), (16, 32, 3, 2), (16, 32, 1, 2), (3, 8, 7, 2), (5, 7, 3, 1)]


def random_conv(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2).requires_grad_(False)
    for values in conv.parameters():
        values.normal_(generator=torch.Generator().manual_seed(values.dim()))
    return conv.to(memory_format=torch.channels_last)


def random_input(*shape: int) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(9))
    return x.contiguous(memory_format=torch.channels_last)


def largest_error(found: Tensor, expected: Tensor) -> float:
    """Relative to the largest value."""
    return float((found.double() - expected).abs().max() / expected.abs().max())


@needs_onednn
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_against_convolution_addition_and_relu(
    form: tuple[int, int, int, int], added: bool, relu: bool, dtype: torch.dtype, bound: float
) -> None:
    conv, x = random_conv(*form), random_input(4, form[0], 9, 9).to(dtype)
    if not onednn.serves(x):
        pytest.skip("no bfloat16 on this processor")
    wide = conv.double()
    expected = wide(x.double())
    residual = random_input(*expected.shape).to(dtype) if added else None
    if residual is not None:
        expected = expected + residual.double()
    expected = F.relu(expected) if relu else expected
    found = onednn.folded_layer(x, random_conv(*form), residual, relu)
    assert found.dtype == dtype
    assert largest_error(found, expected) <= bound


def test_only_where_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = fold_batchnorm(random_extractor(1)).stem
    x = random_input(4, 3, 8, 8)
    expected = layer(x)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(onednn, "folded_layer", None)
    assert largest_error(layer(x), expected.double()) <= 1e-6


@needs_onednn
def test_layers_that_are_trained_never_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "folded_layer", None)
    for layer in (ConvNorm(3, 4), ConvNorm(3, 4).eval()):
        assert layer(random_input(2, 3, 8, 8)).requires_grad
