"""Stochastic gradient descent with momentum: torch's update of parameters, bit for bit.

Without the class torch.optim.SGD, which imports the compiler when it is made: more than half as many seconds
again as torch itself, in the process of every step.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd


class Group(NamedTuple):
    """Parameters that share a learning rate and a weight decay."""

    parameters: list[nn.Parameter]
    rate: Tensor  # a scalar, so that a captured step sees it change
    weight_decay: float


class Descent:
    """Moves the parameters of ``groups`` against their gradients; ``momenta`` begin with zeros."""

    def __init__(self, groups: Sequence[Group], momentum: float, device: torch.device) -> None:
        self.groups = groups
        self.momentum = momentum
        self.fused = device.type in ("cuda", "cpu")
        # Zeros are what torch's first step assumes; made now, so that a captured step is like all others.
        self.momenta = {value: torch.zeros_like(value) for group in groups for value in group.parameters}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for value in self.momenta:
            value.grad = None

    def gradients(self) -> list[Tensor]:
        """Those of all parameters that have one."""
        return [value.grad for value in self.momenta if value.grad is not None]

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.groups:
            moved = [value for value in group.parameters if value.grad is not None]
            sgd(
                [*moved],
                [value.grad for value in moved if value.grad is not None],
                [self.momenta[value] for value in moved] if self.momentum else [],
                fused=self.fused,
                weight_decay=group.weight_decay,
                momentum=self.momentum,
                lr=group.rate,
                dampening=0,
                nesterov=False,
                maximize=False,
            )
