"""What a layer is computed by, and batch normalisation folded in modules that are not made of ConvNorm."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from der.model.kernels.layers import fold_pairs


def fill(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            assert one.running_mean is not None and one.running_var is not None
            one.running_mean.normal_(generator=generator)
            one.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


class Branches(nn.Module):
    """The convolution's result is used beside the normalisation, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.norm(y)  # type: ignore[no-any-return]


class Twice(nn.Module):
    """One normalisation for two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.second(self.norm(self.first(x))))  # type: ignore[no-any-return]


class Untraceable(nn.Module):
    """What is computed depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) if x.sum() > 0 else x  # type: ignore[no-any-return]


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.BatchNorm2d(6)
    )


@pytest.mark.parametrize(("make", "left"), [(grouped, 1), (Branches, 1), (Twice, 1), (Untraceable, 1)])
@torch.no_grad()
def test_the_results_stay(make: Callable[[], nn.Module], left: int) -> None:
    module, images = fill(make()).double(), torch.rand(2, 3, 8, 8).double()
    expected = module(images)
    fold_pairs(module)
    torch.testing.assert_close(module(images), expected)
    assert sum(isinstance(one, nn.BatchNorm2d) for one in module.modules()) == left
