"""A rebalancing, which may be anyone's, changes the classifier and nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from der.core.errors import UserError
from der.model.network import Network, blank_linear
from der.train.rebalancing import find_rebalancing
from der.train.rebalancing import REBALANCINGS, Rebalanced
from tests.builders import random_network, step_run, train_settings, training_images

IMAGES = training_images(1, [3, 3, 5])


def rebalance(name: str, network: Network) -> Rebalanced:
    return find_rebalancing(name)(step_run(2, train_settings()), network, IMAGES)


@torch.no_grad()
def other_head(network: Network) -> None:
    head = blank_linear(network.head.in_features, network.classes, bias=True)
    head.load_state_dict(network.head.state_dict())
    network.head = head


@torch.no_grad()
def shorter(network: Network) -> None:
    network.head.weight = nn.Parameter(network.head.weight[:-1])


@torch.no_grad()
def train_extractor(network: Network) -> None:
    next(network.extractors[0].parameters()).view(-1)[0] += 1e-6


def see_in_training_mode(network: Network) -> None:
    network.train()(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("change", "returned", "fault"),
    [
        (lambda network: None, None, "returns NoneType; return Rebalanced"),
        (lambda network: None, ([], None), "returns tuple; return Rebalanced"),
        (lambda network: None, Rebalanced(None), "returns Rebalanced; return Rebalanced"),  # type: ignore[arg-type]
        (lambda network: None, Rebalanced([1]), "returns Rebalanced; return Rebalanced"),  # type: ignore[list-item]
        (other_head, Rebalanced([]), "puts another classifier into the network; change its weights in place"),
        (shorter, Rebalanced([]), "puts another classifier into the network; change its weights in place"),
        (train_extractor, Rebalanced([]), "changes an extractor; change the classifier alone"),
        (see_in_training_mode, Rebalanced([]), "changes an extractor; change the classifier alone"),
    ],
)
def test_what_else_it_does_is_one_sentence(
    change: Callable[[Network], None], returned: Any, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own(run: object, network: Network, images: object) -> Any:
        change(network)
        return returned

    monkeypatch.setitem(REBALANCINGS, "own", own)
    with pytest.raises(UserError) as caught:
        rebalance("own", random_network([2, 1]))
    assert str(caught.value).startswith(f"train.incremental.rebalancing: own {fault}")


def test_one_that_changes_weights_in_place_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    @torch.no_grad()
    def halve(run: object, network: Network, images: object) -> Rebalanced:
        network.head.weight *= 0.5
        return Rebalanced([], 0.5)

    monkeypatch.setitem(REBALANCINGS, "own", halve)
    network = random_network([2, 1])
    before = network.head.weight.detach().numpy().copy()
    assert rebalance("own", network) == Rebalanced([], 0.5)
    assert np.array_equal(network.head.weight.detach().numpy(), before / 2)


@pytest.mark.parametrize("name", REBALANCINGS)
def test_ours_pass(name: str) -> None:
    assert isinstance(rebalance(name, random_network([2, 1])), Rebalanced)
