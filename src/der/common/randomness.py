"""Randomness by purpose: every draw comes from a generator named after what it is for.

A generator is a pure function of the seed and the purpose (for example ``"flip", step, epoch``), so an
epoch's draws need no state from the epochs before it, and switching one kind off moves no other.
"""

import hashlib

import torch


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for one purpose; the same on every device and machine."""
    text = "/".join(str(part) for part in (seed, *purpose))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
