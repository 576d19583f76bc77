"""Random generators, each named after its purpose; every draw comes from one of them.

A generator is a pure function of the seed and the purpose (for example ``"flip", step, epoch``). So an
epoch's draws need no state of earlier epochs, and turning off one kind of draw changes no other.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Functions that draw from torch's own generator if they are called without one.
DRAWING = frozenset(
    [
        *(Tensor.uniform_, Tensor.normal_, Tensor.bernoulli_, Tensor.random_, Tensor.exponential_),
        *(Tensor.cauchy_, Tensor.log_normal_, Tensor.geometric_, Tensor.bernoulli, Tensor.multinomial),
        *(torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal, torch.bernoulli),
        *(torch.multinomial, torch.poisson),
        *(nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_, nn.init.kaiming_normal_),
    ]
)

_own = threading.RLock()  # held by the thread that has torch's own generators


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Make a CPU generator for one purpose; it draws the same on every device and machine."""
    digest = hashlib.sha256("/".join(map(str, (seed, *purpose))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@contextmanager
def lending(stream: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators from ``stream`` in the block; afterwards restore their state."""
    with keeping_own(device):
        torch.default_generator.manual_seed(stream.initial_seed())
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(stream.initial_seed())
        yield


@contextmanager
def keeping_own(device: torch.device) -> Iterator[None]:
    """Restore torch's global generators, of the processor and a GPU, after the block.

    All threads share them. Only one at a time is in such a block; draws of others meanwhile are undone.
    """
    with _own, torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


class Diverted(TorchFunctionMode):
    """Makes this thread draw from another generator than torch's global one, in the block.

    It is for initial values of modules, which are replaced later. Torch's global generator is not changed,
    also for other threads, whose draws ``keeping_own`` would undo.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stream = torch.Generator()
        self.stream.seed()  # never the same twice: so draws without a seed are found

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in DRAWING and given.get("generator") is None:
            given = given | {"generator": self.stream}
        return func(*args, **given)
