"""Several processes for one stage: DER_PROCESSES of this machine, or those that torchrun has started.

The stage's own process is the first, and the only one that writes. The others run the same script on the same
inputs. Whichever ends, is killed or does not answer ends all of them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from der.core import ranks
from der.core.errors import UserError
from der.pipeline.processes import (
    PARENT,
    PROCESSES,
    RANK,
    STORE,
    by_torchrun,
    count_processes,
    is_member,
    own_rank,
)
from der.pipeline.watching import AGAIN, kill, outlive_first, prepare_end, watching

if TYPE_CHECKING:
    import torch
    from torch._C._distributed_c10d import Store

INTERFACE = "GLOO_SOCKET_IFNAME"
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
ENDING = 30  # seconds for the others to end by themselves


@contextmanager
def team(script: Sequence[str], device: "torch.device") -> Iterator[None]:
    """Be several in the block, if that is asked for; ``script`` are the words after `python -m`.

    It begins when all are there. Raises UserError if one of the others is lost: then all end.
    """
    count = count_processes()
    if count > 1 and device.type not in ("cpu", "cuda"):
        raise UserError(f"{PROCESSES}: {device.type} takes one process; set DER_DEVICE to cpu, or unset it")
    with ExitStack() as stack:
        if by_torchrun():
            stack.enter_context(ending_all())
            meet_by_torchrun(device)
        elif count > 1:
            store = os.environ.get(STORE) or f"{stack.enter_context(TemporaryDirectory())}/store"
            others = [] if is_member() else stack.enter_context(_members(script, count, store))
            stack.enter_context(ending_all(others))
            stack.enter_context(_joined(device, store, count))
        ranks.meet()  # the first may have waited for another run of the same step
        yield


def meet_by_torchrun(device: "torch.device") -> None:
    """Where torchrun has started this process, join the others; once for all stages, as its store is."""
    count = count_processes()
    if by_torchrun() and count > 1 and ranks.count() == 1:
        _join(device, count)


def _join(device: "torch.device", count: int, store: "Store | None" = None) -> None:
    """Be one of ``count``; what is wrong with the network names the setting."""
    try:
        ranks.join(own_rank(), count, device, store)
    except UserError as error:
        raise UserError(
            f"{error}; set {INTERFACE} to the network interface by which they do, or unset it"
        ) from None


@contextmanager
def _joined(device: "torch.device", store: str, count: int) -> Iterator[None]:
    """Be one of those that meet at the file ``store``."""
    from torch._C._distributed_c10d import FileStore  # only now: torch costs seconds

    place = FileStore(store, count)
    place.set_timeout(ranks.MEETING)  # whoever hangs until then is found by the others' threads
    _join(device, count, place)
    yield
    ranks.leave()


@contextmanager
def _members(script: Sequence[str], count: int, store: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes 1 to ``count`` - 1, which end with the block."""
    environment = os.environ | {STORE: store, PARENT: str(os.getpid())}
    if INTERFACE not in environment and sys.platform in LOOPBACK:
        environment[INTERFACE] = os.environ[INTERFACE] = LOOPBACK[sys.platform]
    others: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(1, count):
            line = [sys.executable, "-m", *script]
            others.append(
                subprocess.Popen(line, env=environment | {RANK: str(rank)}, stdout=subprocess.DEVNULL)
            )
        with watching(others, store):
            yield others
        end = time.monotonic() + ENDING
        for other in others:
            with suppress(subprocess.TimeoutExpired):  # what it was for is done
                other.wait(max(0.0, end - time.monotonic()))
    finally:
        kill(others)
        for other in others:
            other.wait()


@contextmanager
def ending_all(others: Sequence[subprocess.Popen[bytes]] = ()) -> Iterator[None]:
    """Have all end where one of them does not answer: here UserError, and ``others`` are killed."""
    try:
        yield
    except ranks.LostRank as error:
        if PARENT in os.environ:
            outlive_first()
        if others:
            prepare_end(others)
        raise UserError(f"{error}; {AGAIN}") from None
