"""What the user's environment decides: places and the device, which no result depends on."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from der.core.errors import naming
from der.core.filesystem import expand_home
from der.pipeline.processes import count_here, count_processes, launcher, local_rank

if TYPE_CHECKING:
    import torch

DEVICE = "DER_DEVICE"
SCRATCH = "DER_SCRATCH"
CURVES = "DER_TENSORBOARD"
TABLE = "DER_TABLE"  # "later" where `make run` shows the results, whether or not a stage ran


def check_work() -> None:
    """Raise UserError for a device or a number of processes that no stage can work with.

    What torch chooses is not looked at, only what the user does: torch costs seconds.
    """
    count_processes()
    if os.environ.get(DEVICE) not in (None, "", "cpu"):
        find_device()


def find_device() -> "torch.device":
    """The device to work on; raises UserError if DER_DEVICE names one that is not here."""
    from der.core.device import choose_device  # torch costs seconds

    with naming(DEVICE):
        return choose_device(os.environ.get(DEVICE))


def set_up_device() -> "torch.device":
    """As find_device, made ready for work; before any other use of torch.

    Of several processes each has a GPU of its own, or its share of the processor's threads.
    """
    from der.core import device  # torch costs seconds

    with naming(DEVICE):
        chosen = device.set_up_device(os.environ.get(DEVICE))
    count = count_here()
    if count == 1:
        return chosen
    with naming(launcher()):
        return device.take_share(chosen, local_rank(), count, "OMP_NUM_THREADS" in os.environ)


def scratch_root() -> Path:
    """DER_SCRATCH, or a directory in the user's cache; the same for all copies of the repository.

    Raises UserError if it lies in a home directory that there is not.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with naming(SCRATCH):
        return expand_home(os.environ.get(SCRATCH) or f"{cache}/der/scratch").absolute()
