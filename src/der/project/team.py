"""Several processes for one stage: DER_PROCESSES of this machine, or those that torchrun has started.

The stage's own process is the first, and the only one that writes. The others run the same script on the same
inputs. Whichever ends, is killed or does not answer ends all of them.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from der.common import ranks
from der.common.errors import UserError

if TYPE_CHECKING:
    import torch

PROCESSES = "DER_PROCESSES"
RANK = "DER_RANK"  # of a process that another has started,
STORE = "DER_STORE"  # the file at which they meet,
PARENT = "DER_PARENT"  # and the number of that process
TORCHRUN = (
    "TORCHELASTIC_RUN_ID"  # set where torchrun has started this process, with RANK, WORLD_SIZE, LOCAL_RANK
)
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
WATCH = 0.2  # seconds
ENDING = 30  # seconds for the others to end by themselves
PATIENCE = 8  # seconds for the first to notice that one is lost
MOST = 1024


def count_processes() -> int:
    """How many processes a stage that trains or measures runs on; raises UserError for what is no number."""
    if TORCHRUN in os.environ:
        return int(os.environ["WORLD_SIZE"])
    text = os.environ.get(PROCESSES) or "1"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise UserError(f"{PROCESSES}: {text!r} is no number of processes; write 1, 2, ..., or unset it")
    return int(text)


def own_rank() -> int:
    """Which of the processes this is to be, from 0."""
    return int(os.environ["RANK"] if TORCHRUN in os.environ else os.environ.get(RANK, "0"))


def local_rank() -> int:
    """Which of this machine's processes this is, from 0."""
    return int(os.environ["LOCAL_RANK"]) if TORCHRUN in os.environ else own_rank()


def is_member() -> bool:
    """Whether this process helps another, which writes what comes of it."""
    return own_rank() > 0


@contextmanager
def team(script: Sequence[str], device: "torch.device") -> Iterator[None]:
    """Be several in the block, if that is asked for; ``script`` are the words after `python -m`.

    Raises UserError if one of the others is lost: then all end.
    """
    count = count_processes()
    if count > 1 and device.type not in ("cpu", "cuda"):
        raise UserError(f"{PROCESSES}: {device.type} takes one process; set DER_DEVICE to cpu, or unset it")
    with ExitStack() as stack:
        others: list[subprocess.Popen[bytes]] = []
        if TORCHRUN in os.environ:
            meet_by_torchrun(device)
        elif count > 1:
            store = os.environ.get(STORE) or f"{stack.enter_context(TemporaryDirectory())}/store"
            if not is_member():
                others = stack.enter_context(_members(script, count, store))
            stack.enter_context(_joined(device, store, count))
        stack.enter_context(ending_all(others))
        yield


def meet_by_torchrun(device: "torch.device") -> None:
    """Where torchrun has started this process, join the others; once for all stages, as its store is."""
    if TORCHRUN in os.environ and ranks.count() == 1:
        ranks.join(own_rank(), count_processes(), device)


@contextmanager
def _joined(device: "torch.device", store: str, count: int) -> Iterator[None]:
    """Be one of those that meet at the file ``store``."""
    from torch._C._distributed_c10d import FileStore  # only now: torch costs seconds

    ranks.join(own_rank(), count, device, FileStore(store, count))
    yield
    ranks.leave()


@contextmanager
def _members(script: Sequence[str], count: int, store: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes 1 to ``count`` - 1, which end with the block."""
    environment = os.environ | {STORE: store, PARENT: str(os.getpid())}
    if "GLOO_SOCKET_IFNAME" not in environment and sys.platform in LOOPBACK:
        environment["GLOO_SOCKET_IFNAME"] = os.environ["GLOO_SOCKET_IFNAME"] = LOOPBACK[sys.platform]
    others: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(1, count):
            line = [sys.executable, "-m", *script]
            others.append(
                subprocess.Popen(line, env=environment | {RANK: str(rank)}, stdout=subprocess.DEVNULL)
            )
        with _watching(others):
            yield others
        for other in others:
            other.wait(ENDING)
    finally:
        for other in others:
            other.kill()
            other.wait()


@contextmanager
def _watching(others: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """End this process as soon as one of the others has failed: it may wait for an answer for long."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCH):
            failed = [rank for rank, other in enumerate(others, start=1) if other.poll() not in (None, 0)]
            if failed:
                for other in others:
                    other.kill()
                print(f"error: {_describe(failed[0], len(others) + 1)}", file=sys.stderr, flush=True)
                os._exit(1)  # at any moment: outputs and training state are whole or absent

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _describe(rank: int, count: int) -> str:
    return f"process {rank} of {count} (counted from 0) has ended; run again: it goes on from the last epoch"


@contextmanager
def ending_all(others: Sequence[subprocess.Popen[bytes]] = ()) -> Iterator[None]:
    """Have all end where one of them does not answer: here UserError, and ``others`` are killed."""
    try:
        yield
    except ranks.LostRank as error:
        for other in others:
            other.kill()
        if PARENT in os.environ:
            _outlive(int(os.environ[PARENT]))
        raise UserError(f"{error}; run again: it goes on from the last epoch") from None


def _outlive(parent: int) -> None:
    """Wait until the first process ends this one, as it does if another is lost; end it if it hangs."""
    end = time.monotonic() + PATIENCE
    while os.getppid() == parent and time.monotonic() < end:
        time.sleep(WATCH)
    if os.getppid() == parent:
        if own_rank() == 1:  # for all
            print(
                "error: the first process hangs and is ended; run again: it goes on from the last epoch",
                file=sys.stderr,
                flush=True,
            )
        os.kill(parent, signal.SIGKILL)
