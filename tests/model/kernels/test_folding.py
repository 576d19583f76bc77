"""Frozen extractors with batch normalisation folded into their convolutions."""

import pytest
import torch
from torch import nn

from der.model.forward import fold_batchnorm
from tests.builders import random_extractor, same_bits, weights


def images(channels: int) -> torch.Tensor:
    return torch.randn(16, channels, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_features_stay_the_same(seed: int, channels: int) -> None:
    extractor = random_extractor(seed, channels)
    before, after = extractor(images(channels)), fold_batchnorm(extractor)(images(channels))
    assert after.dtype == torch.float32
    assert (after - before).abs().max() <= 2e-6 * before.abs().max()


def test_weights_are_rounded_once() -> None:
    extractor = random_extractor(1)
    plain = [module for module in extractor.modules() if isinstance(module, nn.Conv2d)]
    normalisations = [module for module in extractor.modules() if isinstance(module, nn.BatchNorm2d)]
    folded = [module for module in fold_batchnorm(extractor).modules() if isinstance(module, nn.Conv2d)]
    for before, bn, after in zip(plain, normalisations, folded, strict=True):
        assert bn.running_var is not None and bn.running_mean is not None and after.bias is not None
        scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
        weight = before.weight.double() * scale[:, None, None, None]
        torch.testing.assert_close(after.weight, weight.float(), rtol=1.2e-7, atol=0)
        bias = bn.bias.double() - bn.running_mean.double() * scale
        torch.testing.assert_close(after.bias, bias.float(), rtol=1.2e-7, atol=0)


def test_nothing_is_left_to_learn_or_to_track() -> None:
    folded = fold_batchnorm(random_extractor(1))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_an_extractor_in_training_is_folded_as_in_evaluation() -> None:
    expected = fold_batchnorm(random_extractor(1))(images(3))
    assert torch.equal(fold_batchnorm(random_extractor(1).train())(images(3)), expected)


@pytest.mark.parametrize("training", [False, True])
def test_the_extractor_itself_is_left_as_it_was(training: bool) -> None:
    extractor = random_extractor(1).train(training)
    before = weights(extractor)
    fold_batchnorm(extractor)(images(3))
    assert same_bits(weights(extractor), before)
    assert extractor.training is training
    assert all(parameter.requires_grad for parameter in extractor.parameters())
    assert all(value.dtype == torch.float32 for value in extractor.state_dict().values())
