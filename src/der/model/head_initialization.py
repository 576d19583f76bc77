"""How a new classifier is drawn, by name: what network.head_initialization chooses from.

To add one, write a function like ``torch_uniform`` and name it in HEAD_INITIALIZATIONS. Names are known
without torch. With D the features that a row has:
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


class HeadInitialization(Protocol):
    """A start of classifiers: a function that draws all weights and biases of a layer anew, in place.

    ``layer.weight`` (classes, features) and ``layer.bias`` (classes,) or None are float32, and hold nothing
    yet. Every draw comes from ``generator``, which is on the CPU, and from nothing else.
    """

    def __call__(self, layer: nn.Linear, generator: Generator, /) -> None: ...


def torch_uniform(layer: nn.Linear, generator: Generator) -> None:
    """Weights and biases uniform in +-1/sqrt(D): what torch makes of a layer, and of one that it resets."""
    bound = layer.in_features**-0.5
    for values in layer.parameters():
        _fill(values, _empty_like(values).uniform_(-bound, bound, generator=generator))


def lecun_uniform(layer: nn.Linear, generator: Generator) -> None:
    """Weights uniform in +-sqrt(3/D), of variance 1/D, biases zero (PyCIL)."""
    bound = (3 / layer.in_features) ** 0.5
    _fill(layer.weight, _empty_like(layer.weight).uniform_(-bound, bound, generator=generator))
    _clear_bias(layer)


def lecun_normal(layer: nn.Linear, generator: Generator) -> None:
    """Weights normal, not truncated, of deviation 1/sqrt(D), biases zero (DER, the authors' code)."""
    deviation = layer.in_features**-0.5
    _fill(layer.weight, _empty_like(layer.weight).normal_(0, deviation, generator=generator))
    _clear_bias(layer)


HEAD_INITIALIZATIONS: dict[str, HeadInitialization] = {
    "torch_uniform": torch_uniform,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
}


def _empty_like(values: Tensor) -> Tensor:
    # On the CPU, like the generator: a layer may lie elsewhere when warm-up ends.
    return values.new_empty(values.shape, device="cpu")


def _fill(values: Tensor, drawn: Tensor) -> None:
    values.detach().copy_(drawn)


def _clear_bias(layer: nn.Linear) -> None:
    if layer.bias is not None:
        layer.bias.detach().zero_()
