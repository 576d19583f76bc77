"""Randomness by purpose: every draw comes from a generator named after what it is for.

A generator is a pure function of the seed and the purpose (for example ``"flip", step, epoch``), so an
epoch's draws need no state from the epochs before it, and switching one kind off moves no other.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for one purpose; the same on every device and machine."""
    text = "/".join(str(part) for part in (seed, *purpose))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@contextmanager
def lending(stream: torch.Generator, device: torch.device) -> Iterator[None]:
    """In the block torch's own generators, from which dropout draws, begin with the seed of ``stream``.

    Afterwards they go on as if the block had not been.
    """
    with keeping_own(device):
        torch.default_generator.manual_seed(stream.initial_seed())
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(stream.initial_seed())
        yield


def keeping_own(device: torch.device) -> AbstractContextManager[None]:
    """After the block torch's own generators, the processor's and a GPU's, are as they were before it."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
