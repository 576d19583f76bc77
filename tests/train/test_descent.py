"""Descent against torch's class of the same update."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from der.train.engine import Descent, Group

RATES = (0.1, 0.05, 0.005)  # of the steps


def make_parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((7, 5), (13,), (3, 3), (2,))]


def set_gradients(parameters: list[nn.Parameter], step: int) -> None:
    """Gradients of a step; one parameter has none at first."""
    generator = torch.Generator().manual_seed(step + 1)
    for value in parameters:
        value.grad = torch.randn(value.shape, generator=generator)
    if step == 0:
        parameters[1].grad = None


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_bits_are_those_of_torch_s_class(momentum: float) -> None:
    ours, theirs = make_parameters(), make_parameters()
    rates = [torch.tensor(0.0), torch.tensor(0.0)]
    descent = Descent(
        [Group(ours[:3], rates[0], 5e-4), Group(ours[3:], rates[1], 0.0)], momentum, torch.device("cpu")
    )
    groups = [{"params": theirs[:3], "weight_decay": 5e-4}, {"params": theirs[3:], "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=momentum, fused=True)
    optimizer.state[theirs[1]]["momentum_buffer"] = torch.zeros(
        13
    )  # which torch makes at all first steps only
    for step, rate in enumerate(RATES):
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = rate * (1 + number)
            rates[number].fill_(rate * (1 + number))
        set_gradients(ours, step)
        set_gradients(theirs, step)
        descent.step()
        optimizer.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)
    if momentum:
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(descent.momenta[one], optimizer.state[other]["momentum_buffer"])
    descent.zero_grad()
    assert all(value.grad is None for value in ours)


@pytest.mark.slow  # torch in a process of its own
def test_training_leaves_torch_s_compiler_alone() -> None:
    """It costs seconds, and torch's own class imports it."""
    script = """
import sys
import torch
from der.train.engine import Descent, Group
value = torch.nn.Parameter(torch.ones(2))
descent = Descent([Group([value], torch.tensor(0.1), 0.0)], 0.9, torch.device("cpu"))
value.sum().backward()
descent.step()
descent.zero_grad()
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
