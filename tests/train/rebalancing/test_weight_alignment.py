"""Weight alignment."""

import pytest
import torch
from torch import nn

from der.train.rebalancing import align_weights


def random_head(classes: int, features: int, seed: int = 0) -> nn.Linear:
    head = nn.Linear(features, classes)
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))
    return head


def test_by_hand() -> None:
    head = nn.Linear(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 1.0], [-6.0, 8.0]]))  # norms 5, 1 and 10
        head.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert align_weights(head, old_classes=2) == pytest.approx(0.3)
    torch.testing.assert_close(head.weight.detach()[2], torch.tensor([-1.8, 2.4]))
    assert head.bias.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("old", "new"), [(1, 1), (4, 2), (2, 7)])
def test_mean_norms_are_equal_after(old: int, new: int) -> None:
    head = random_head(old + new, 10)
    with torch.no_grad():
        head.weight[old:] *= 3
    before = head.weight.detach().clone()
    bias = head.bias.detach().clone()
    gamma = align_weights(head, old)
    assert torch.equal(head.weight[:old], before[:old])
    assert torch.equal(head.bias, bias)
    norms = [float(row.double().norm()) for row in head.weight.detach()]
    assert sum(norms[:old]) / old == pytest.approx(sum(norms[old:]) / new, rel=1e-6)
    torch.testing.assert_close(head.weight.detach()[old:], before[old:] * gamma)


def test_aligned_weights_stay_as_they_are() -> None:
    head = random_head(5, 4)
    align_weights(head, 3)
    assert align_weights(head, 3) == pytest.approx(1, rel=1e-6)


def test_weights_can_still_be_trained() -> None:
    head = random_head(5, 4)
    align_weights(head, 3)
    assert head.weight.requires_grad and head.weight.is_leaf
