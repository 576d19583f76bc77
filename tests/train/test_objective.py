"""The loss of representation learning against the formula, value and gradient."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from der.train.objective import Loss, RepresentationObjective
from tests.builders import build_objective, random_network

Wide = NDArray[np.float64]


def softmax(logits: Wide) -> Wide:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    result: Wide = exponentials / exponentials.sum(1, keepdims=True)
    return result


def cross_entropy(logits: Wide, labels: NDArray[np.int64]) -> tuple[float, Wide]:
    """Mean over images, and its gradient by the logits."""
    probabilities = softmax(logits)
    rows = np.arange(len(labels))
    loss = -np.log(probabilities[rows, labels]).mean()
    gradient = probabilities.copy()
    gradient[rows, labels] -= 1
    return float(loss), gradient / len(labels)


def wide(tensor: Tensor | None) -> Wide:
    assert tensor is not None
    return tensor.detach().double().numpy()


class Case:
    """Six images whose features are their own pixels: 3 old classes, 2 new, 5 frozen features, 4 new."""

    def __init__(self, weight: float) -> None:
        generator = torch.Generator().manual_seed(3)
        self.images = torch.randn(6, 1, 2, 2, generator=generator).requires_grad_()
        self.frozen = torch.randn(6, 5, generator=generator).requires_grad_()
        self.labels = torch.tensor([0, 1, 2, 3, 4, 4])
        self.head, self.auxiliary = nn.Linear(9, 5), nn.Linear(4, 3)
        for layer in (self.head, self.auxiliary):
            for parameter in layer.parameters():
                nn.init.normal_(parameter, generator=generator)
        objective = RepresentationObjective(nn.Flatten(), self.head, self.auxiliary, weight, None)
        self.loss: Loss = objective(self.images, self.frozen, self.labels, torch.tensor(0.0))


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.5])
def test_loss_and_gradients_against_the_formula(weight: float) -> None:
    case = Case(weight)
    case.loss.total.backward()  # type: ignore[no-untyped-call]
    pixels = wide(case.images).reshape(6, 4)
    u = np.concatenate([wide(case.frozen), pixels], axis=1)
    logits = u @ wide(case.head.weight).T + wide(case.head.bias)
    main, by_logits = cross_entropy(logits, np.array([0, 1, 2, 3, 4, 4]))
    auxiliary_logits = pixels @ wide(case.auxiliary.weight).T + wide(case.auxiliary.bias)
    auxiliary, by_auxiliary = cross_entropy(auxiliary_logits, np.array([0, 0, 0, 1, 2, 2]))

    right = logits.argmax(1) == case.labels.numpy()
    assert case.loss.correct.item() == pytest.approx(right.mean())
    assert case.loss.total.item() == pytest.approx(main + weight * auxiliary, rel=1e-5)
    assert case.loss.auxiliary.item() == pytest.approx(auxiliary if weight else 0, rel=1e-5)
    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(wide(case.head.weight.grad), by_logits.T @ u, **close)
    np.testing.assert_allclose(wide(case.head.bias.grad), by_logits.sum(0), **close)
    by_pixels = (by_logits @ wide(case.head.weight))[:, 5:]
    by_pixels += weight * by_auxiliary @ wide(case.auxiliary.weight)
    np.testing.assert_allclose(wide(case.images.grad).reshape(6, 4), by_pixels, **close)
    if weight:
        np.testing.assert_allclose(
            wide(case.auxiliary.weight.grad), weight * by_auxiliary.T @ pixels, **close
        )
        np.testing.assert_allclose(wide(case.auxiliary.bias.grad), weight * by_auxiliary.sum(0), **close)
    else:
        assert case.auxiliary.weight.grad is None


def test_bfloat16_is_for_the_extractor_alone() -> None:
    network = random_network([3, 2])
    objective = build_objective(network, old_classes=3).eval()
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    frozen = torch.randn(6, 64, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 3, 4, 4])
    loss = objective(images.bfloat16(), frozen, labels, torch.tensor(0.0))
    assert loss.total.dtype == torch.float32
    features = objective.extractor(images.bfloat16())
    assert not torch.equal(features, objective.extractor(images))
    u = np.concatenate([wide(frozen), wide(features)], axis=1)
    main, _ = cross_entropy(u @ wide(network.head.weight).T + wide(network.head.bias), labels.numpy())
    logits = wide(features) @ wide(objective.auxiliary.weight).T + wide(objective.auxiliary.bias)
    auxiliary, _ = cross_entropy(logits, np.array([0, 0, 0, 1, 2, 2]))
    assert loss.total.item() == pytest.approx(main + auxiliary, rel=1e-5)
