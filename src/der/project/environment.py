"""What the user's environment decides: places and the device, which no result depends on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from der.common.errors import UserError
from der.common.filesystem import expand_home

if TYPE_CHECKING:
    import torch

DEVICE = "DER_DEVICE"
SCRATCH = "DER_SCRATCH"


def find_device() -> "torch.device":
    """The device to work on; raises UserError if DER_DEVICE names one that is not here."""
    from der.common.device import choose_device  # torch costs seconds

    with _naming(DEVICE):
        return choose_device(os.environ.get(DEVICE))


def set_up_device() -> "torch.device":
    """As find_device, made ready for work; before any other use of torch."""
    from der.common import device  # torch costs seconds

    with _naming(DEVICE):
        return device.set_up_device(os.environ.get(DEVICE))


@contextmanager
def _naming(variable: str) -> Iterator[None]:
    """Have a message say which variable holds what it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{variable}: {error}") from None


def scratch_root() -> Path:
    """DER_SCRATCH, or a directory in the user's cache; the same for all copies of the repository.

    Raises UserError if it lies in a home directory that there is not.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with _naming(SCRATCH):
        return expand_home(os.environ.get(SCRATCH) or f"{cache}/der/scratch").absolute()
