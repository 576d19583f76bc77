"""Several processes for one stage, and one stage at a time on a machine's processor.

Torch's launcher, by which torchrun works, starts the processes and ends all of them if one ends. They run the
same script on the same inputs: rank 0 does what a process alone does, the workers help it to compute.
"""

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from der.core import distributed
from der.core.cost import waiting
from der.core.errors import UserError
from der.pipeline import environment
from der.pipeline.environment import count_here, count_processes, is_launched, is_worker
from der.pipeline.timing import find_dvc, name_run

if TYPE_CHECKING:
    import torch

AGAIN = "run again: it goes on from the last epoch"
INTERFACE = "GLOO_SOCKET_IFNAME"
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
PATIENCE = 3  # seconds in which another process may say first what is wrong, or the launcher end this one
SILENT = 2  # seconds that a stage waits for the processor without a word


def run_together(work: Callable[[], None], module: str, *arguments: str) -> None:
    """Do ``work`` in all processes; if none but this one was started, start them as `python -m module`."""
    count = count_processes()
    if count == 1:
        work()
    elif not is_launched():
        _launch(count, module, *arguments)
    else:
        try:
            distributed.join(environment.own_rank(), count, environment.set_up_device())
        except UserError as error:
            raise UserError(
                f"{error}; set {INTERFACE} to the network interface by which they do, or unset it"
            ) from None
        work()
        distributed.leave()


def _launch(count: int, module: str, *arguments: str) -> None:
    """Have torch's launcher start ``count`` processes of `python -m module`, and wait for them."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # one sentence of ours says what the launcher says in many lines
    if sys.platform in LOOPBACK:
        os.environ.setdefault(INTERFACE, LOOPBACK[sys.platform])
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            *(1, 1, count),  # nodes, at least and at most, and processes on each
            run_id=name_run(),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", module, *arguments)
        except SignalException as error:  # which the processes have got, too
            sys.exit(128 + error.sigval)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode > 0:  # it has said why
                sys.exit(1)
            raise UserError(
                f"process {rank} of {count} (counted from 0) was ended by {failure.signal_name()}; {AGAIN}"
            ) from None


@contextmanager
def letting_others_speak() -> Iterator[None]:
    """Wait before a process says what is wrong with all of them, so that only one does."""
    try:
        yield
    except distributed.LostRank as error:
        time.sleep(PATIENCE * (1 + is_worker()))
        raise UserError(f"{error}; {AGAIN}") from None
    except (UserError, OSError):
        time.sleep(PATIENCE * is_worker())
        raise
    except KeyboardInterrupt:
        if is_worker():
            sys.exit(1)
        raise


@contextmanager
def computing(stage: str, device: "torch.device") -> Iterator[None]:
    """Compute in the block with all ranks together; on a processor, other stages wait until it ends.

    Torch's threads wait for each other by spinning: two stages with more threads than there are cores take
    many times as long as one after the other. Where OMP_NUM_THREADS says that a stage takes at most half of
    the cores, it does not wait.
    """
    with ExitStack() as stack:
        if not is_worker() and device.type == "cpu" and _takes_most_cores():
            with suppress(OSError), waiting():  # without a lock work goes on
                stack.enter_context(_processor(stage))
        distributed.barrier()  # rank 0 may have waited, also for another run of the same step
        yield


def _takes_most_cores() -> bool:
    import torch  # which is there by now

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return "OMP_NUM_THREADS" not in os.environ or 2 * torch.get_num_threads() * count_here() > cores


@contextmanager
def _processor(stage: str) -> Iterator[None]:
    """Hold this user's lock on the machine's processor; says for whom it waits."""
    from filelock import FileLock, Timeout

    user = os.getuid() if hasattr(os, "getuid") else ""
    lock = FileLock(Path(tempfile.gettempdir()) / f"der-processor-{user}.lock")
    holder = Path(lock.lock_file).with_suffix(".holder")  # says who that is
    try:
        lock.acquire(timeout=SILENT)
    except Timeout:
        named = holder.read_text(encoding="utf-8") if holder.exists() else ""
        said = f"{stage}: waiting for {named or 'another run'}, which computes here"
        print(said, file=sys.stderr, flush=True)
        lock.acquire(poll_interval=0.2)
    try:
        text = f"{stage} in {Path.cwd()} (process {os.getpid()})"
        holder.write_text(text, encoding="utf-8", errors="replace")
        yield
    finally:
        lock.release()


def end_with_parent() -> None:
    """Have this process end soon after the dvc or the launcher that has started it.

    If dvc is killed, its stage would run on, and the next `dvc repro` would start a second one beside it.
    """
    launched, parent = is_launched(), os.getppid()
    if not launched and "DVC_STAGE" not in os.environ:
        return
    dvc = None if launched else find_dvc()

    def watch() -> None:
        while launched and os.getppid() == parent:
            time.sleep(0.1)
        if dvc is not None:
            dvc.wait()
        os._exit(1)  # at any moment: outputs and training state are whole or absent

    threading.Thread(target=watch, daemon=True).start()
