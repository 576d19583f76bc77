"""How many processes a stage runs on and which of them this one is: by DER_PROCESSES, or by torchrun."""

import os

from der.core.errors import UserError

PROCESSES = "DER_PROCESSES"
RANK = "DER_RANK"  # of a process that another has started,
STORE = "DER_STORE"  # the file at which they meet,
PARENT = "DER_PARENT"  # and the number of that process
# Set where torchrun has started this process, with the others that are read here.
TORCHRUN = "TORCHELASTIC_RUN_ID"
MOST = 1024


def by_torchrun() -> bool:
    """Whether torchrun has started this process."""
    return TORCHRUN in os.environ


def launcher() -> str:
    """Who has asked for several processes."""
    return "torchrun" if by_torchrun() else PROCESSES


def count_processes() -> int:
    """How many processes a stage that trains or measures runs on; raises UserError for what is no number."""
    if by_torchrun():
        return int(os.environ["WORLD_SIZE"])
    text = os.environ.get(PROCESSES) or "1"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise UserError(f"{PROCESSES}: {text!r} is no number of processes; write 1, 2, ..., or unset it")
    return int(text)


def count_here() -> int:
    """How many of them run on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if by_torchrun() else count_processes()


def own_rank() -> int:
    """Which of the processes this is to be, from 0."""
    return int(os.environ["RANK"] if by_torchrun() else os.environ.get(RANK, "0"))


def local_rank() -> int:
    """Which of this machine's processes this is, from 0."""
    return int(os.environ["LOCAL_RANK"]) if by_torchrun() else own_rank()


def is_member() -> bool:
    """Whether this process helps another, which writes what comes of it."""
    return own_rank() > 0
