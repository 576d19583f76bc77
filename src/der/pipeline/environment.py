"""What the environment decides: places, the device and the number of processes. No result depends on it.

Several processes work on a stage where DER_PROCESSES says so, or where torchrun has started this one.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from der.core.cost import processor_name
from der.core.errors import UserError, naming
from der.core.files import expand_home

if TYPE_CHECKING:  # torch costs seconds
    import torch

PROCESSES = "DER_PROCESSES"
DEVICE = "DER_DEVICE"
SCRATCH = "DER_SCRATCH"
CURVES = "DER_TENSORBOARD"
TABLE = "DER_TABLE"  # "later" where `make run` shows the results, whether or not a stage ran
LAUNCHED = "TORCHELASTIC_RUN_ID"  # set by torch's launcher, with the other variables that are read here
MOST = 1024  # processes


def check_work() -> None:
    """Raise UserError for a device or a number of processes that no stage can work with.

    What torch chooses is not looked at, only what the user does: torch costs seconds.
    """
    count_processes()
    if os.environ.get(DEVICE) not in (None, "", "cpu"):
        find_device()


def is_launched() -> bool:
    """Tell whether torch's launcher has started this process: torchrun, or ours for DER_PROCESSES."""
    return LAUNCHED in os.environ


def count_processes() -> int:
    """How many processes work on a stage; raises UserError if DER_PROCESSES is no number."""
    if is_launched():
        return int(os.environ["WORLD_SIZE"])
    text = os.environ.get(PROCESSES) or "1"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise UserError(f"{PROCESSES}: {text!r} is no number of processes; write 1, 2, ..., or unset it")
    return int(text)


def count_here() -> int:
    """Return how many of them run on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_launched() else count_processes()


def own_rank() -> int:
    """Return this process's rank, from 0."""
    return int(os.environ["RANK"]) if is_launched() else 0


def is_worker() -> bool:
    """Tell whether this process helps rank 0, which writes the outputs."""
    return own_rank() > 0


def find_device() -> "torch.device":
    """Choose the device to work on; raises UserError if DER_DEVICE names one that is not here."""
    from der.core.device import choose_device  # torch costs seconds

    with naming(DEVICE):
        return choose_device(os.environ.get(DEVICE))


def set_up_device() -> "torch.device":
    """Choose the device, or this process's part of it, and make it ready; call it before any use of torch."""
    from der.core import device  # torch costs seconds

    with naming(DEVICE):
        chosen = device.set_up_device(os.environ.get(DEVICE))
    if count_processes() > 1 and chosen.type not in ("cpu", "cuda"):
        raise UserError(f"{PROCESSES}: {chosen.type} takes one process; set {DEVICE} to cpu, or unset it")
    if (count := count_here()) == 1:
        return chosen
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    with naming(PROCESSES if PROCESSES in os.environ else "torchrun"):
        return device.take_part(chosen, local_rank, count, "OMP_NUM_THREADS" in os.environ)


def scratch_root() -> Path:
    """DER_SCRATCH, or a directory in the user's cache, the same for all copies of the repository."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with naming(SCRATCH):
        return expand_home(os.environ.get(SCRATCH) or f"{cache}/der/scratch").absolute()


class Machine(TypedDict):
    """What stages ran on."""

    device: str  # name of the processor or GPU
    torch: str | None  # version; None for a stage that did without


def describe_machine() -> Machine:
    """Name the processor or GPU that stages use here, and torch's version."""
    import torch  # only now: it costs seconds

    device = find_device()
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor_name()} ({device.type})"
    )
    return {"device": name, "torch": str(torch.__version__)}  # a str of a class of its own


def describe_machine_in_use() -> Machine:
    """As describe_machine if this process works with torch; else the processor alone."""
    return describe_machine() if "torch" in sys.modules else {"device": processor_name(), "torch": None}
