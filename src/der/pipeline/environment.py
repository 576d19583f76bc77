"""Choices of the environment: places, the device, the processes of a stage. No result depends on them.

Several processes work on a stage if DER_PROCESSES says so, or if torchrun started this process. Torch's
launcher, which torchrun uses, starts them, and ends all of them if one ends. They run the same script on the
same inputs: rank 0 does everything that a single process does, and the workers help it to compute.
"""

import json
import logging
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, TypedDict

from der.core import cost, distributed
from der.core.errors import UserError, describe_error, naming

if TYPE_CHECKING:
    import psutil
    import torch

    from der.train.log import Listener

PROCESSES = "DER_PROCESSES"
DEVICE = "DER_DEVICE"
SCRATCH = "DER_SCRATCH"
LISTENER = "DER_LISTENER"
TABLE = "DER_TABLE"  # "later" where `make run` shows the results, whether or not a stage ran
LAUNCHED = "TORCHELASTIC_RUN_ID"  # set by torch's launcher, with the other variables that are read here
MOST = 1024  # processes
COPIES = Path(".dvc/tmp/exps")  # where DVC runs experiments in copies of a project


def is_launched() -> bool:
    """Tell whether torch's launcher started this process, by torchrun or by DER_PROCESSES."""
    return LAUNCHED in os.environ


def count_processes() -> int:
    """Count the processes that work on a stage; raises UserError if DER_PROCESSES is no number."""
    if is_launched():
        return int(os.environ["WORLD_SIZE"])
    text = os.environ.get(PROCESSES) or "1"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise UserError(f"{PROCESSES}: {text!r} is no number of processes; write 1, 2, ..., or unset it")
    return int(text)


def count_here() -> int:
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_launched() else count_processes()


def own_rank() -> int:
    return int(os.environ["RANK"]) if is_launched() else 0


def is_worker() -> bool:
    """Tell whether this process helps rank 0, which writes the outputs."""
    return own_rank() > 0


def find_device() -> "torch.device":
    """Choose the device to work on; raises UserError if DER_DEVICE names a device that is not available."""
    from der.core.device import choose_device  # torch costs seconds

    with naming(DEVICE):
        return choose_device(os.environ.get(DEVICE))


def set_up_device() -> "torch.device":
    """Choose and prepare the device, or this process's share of it. Call this before any use of torch."""
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
    """Return DER_SCRATCH, or a directory in the user's cache, the same for all copies of the repository."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(os.environ.get(SCRATCH) or f"{cache}/der/scratch")).absolute()


def find_listener() -> Callable[[str], "Listener"] | None:
    """Find the function that DER_LISTENER names, module:function; None if it names none."""
    named = os.environ.get(LISTENER)
    try:
        return resolve_name(named) if named else None
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{LISTENER}: {error}; write module:function, or unset it") from None


class Machine(TypedDict):
    device: str  # name of the processor or GPU
    torch: str | None  # version; None for a stage that did without


def describe_machine() -> Machine:
    """Name the processor or GPU that stages use here, and torch's version."""
    import torch  # only now: it costs seconds

    device = find_device()
    on_gpu, processor = device.type == "cuda", f"{cost.processor_name()} ({device.type})"
    name = torch.cuda.get_device_name(device) if on_gpu else processor
    return {"device": name, "torch": str(torch.__version__)}  # a str of a class of its own


def describe_machine_in_use() -> Machine:
    """Like describe_machine if this process works with torch; else name only the processor."""
    return describe_machine() if "torch" in sys.modules else {"device": cost.processor_name(), "torch": None}


AGAIN = "run again: it goes on from the last epoch"
INTERFACE = "GLOO_SOCKET_IFNAME"
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
LATER = 20  # seconds by which the loss of a rank counts as later than what that one says or is ended by
SILENT = 2  # seconds that a stage waits for the processor without a word


def run_together(work: Callable[[], None], module: str, *arguments: str) -> None:
    """Do ``work`` in all processes; if only this one was started, start the others as `python -m module`."""
    count = count_processes()
    if count == 1:
        work()
    elif not is_launched():
        _launch(count, module, *arguments)
    else:
        try:
            distributed.join(own_rank(), count, set_up_device())
        except UserError as error:
            mend = f"set {INTERFACE} to the network interface by which they do, or unset it"
            raise UserError(f"{error}; {mend}") from None
        work()
        distributed.leave()


def _launch(count: int, module: str, *arguments: str) -> None:
    """Make torch's launcher start ``count`` processes of `python -m module`, and wait for them."""
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
            # The first to fail; those that the launcher has ended for that fail in the same second, or later.
            rank, failure = min(
                error.failures.items(), key=lambda one: (one[1].timestamp, one[1].exitcode == -signal.SIGTERM)
            )
            if failure.exitcode > 0 and Path(failure.error_file).is_file():
                raise UserError(failure.message) from None
            if failure.exitcode > 0:  # it has shown its traceback
                sys.exit(1)
            ended = f"was ended by {failure.signal_name()}; {AGAIN}"
            raise UserError(f"process {rank} of {count} (counted from 0) {ended}") from None


@contextmanager
def telling_the_launcher() -> Iterator[None]:
    """Pass errors to our launcher, if it started this process: it prints each error once."""
    try:
        yield
        return
    except distributed.LostRank as error:
        moment, sentence = time.time() + LATER, f"{error}; {AGAIN}"
    except (UserError, OSError) as error:
        moment, sentence = time.time(), describe_error(error)
    except KeyboardInterrupt:
        if is_worker():
            sys.exit(1)
        raise
    if PROCESSES not in os.environ or not is_launched():
        raise UserError(sentence)
    content = json.dumps({"message": sentence, "timestamp": int(moment)})
    Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(content, encoding="utf-8")
    sys.stdout.flush()
    os._exit(1)  # at once: Gloo's threads may still wait for a rank that is lost, and would abort


@contextmanager
def computing(stage: str, device: "torch.device") -> Iterator[None]:
    """Compute in the block with all ranks together; on a processor, other stages wait until it ends.

    Torch's threads wait for each other by spinning: two stages with more threads than cores take many times
    as long as one after the other. If OMP_NUM_THREADS is at most half of the cores, the stage does not wait.
    """
    import torch  # which is there by now

    with ExitStack() as stack:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = torch.get_num_threads() * count_here()
        waits = "OMP_NUM_THREADS" not in os.environ or 2 * threads > cores
        if waits and not is_worker() and device.type == "cpu":
            with suppress(OSError), cost.waiting():  # without a lock work goes on
                stack.enter_context(_processor(stage))
        distributed.barrier()  # rank 0 may have waited, also for another run of the same step
        yield


@contextmanager
def _processor(stage: str) -> Iterator[None]:
    """Hold this user's lock on the machine's processor; print which stage it waits for."""
    from filelock import FileLock, Timeout

    user = os.getuid() if hasattr(os, "getuid") else ""
    named = Path(tempfile.gettempdir()) / f"der-processor-{user}.lock"
    lock, holder = FileLock(named), named.with_suffix(".holder")  # which says who holds it
    try:
        lock.acquire(timeout=SILENT)
    except Timeout:
        other = (holder.read_text(encoding="utf-8") if holder.exists() else "") or "another run"
        print(f"{stage}: waiting for {other}, which computes here", file=sys.stderr, flush=True)
        lock.acquire(poll_interval=0.2)
    try:
        holder.write_text(f"{stage} in {Path.cwd()} (process {os.getpid()})", "utf-8", "replace")
        yield
    finally:
        lock.release()


def end_with_parent() -> None:
    """Make this process end soon after dvc or the launcher: otherwise it would run beside the next stage."""
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


def find_project() -> Path:
    """Find the project's directory, also from a copy in which DVC runs an experiment."""
    here = Path.cwd()
    return next((above for above in here.parents if here.is_relative_to(above / COPIES)), here)


@cache
def name_run() -> str:
    """Make a name that all stages of one `dvc repro`, or of one `python -m stages`, share."""
    if (name := os.environ.get(LAUNCHED, "none")) != "none":  # torchrun that was given no name says "none"
        return name
    if "DVC_STAGE" in os.environ and (dvc := find_dvc()) is not None:
        # Its hash is of its number and of when it began, by a clock that nobody sets.
        return f"{platform.node()}-{dvc.pid}-{hash(dvc) & 0xFFFFFFFF:08x}"
    return os.urandom(16).hex()


def find_dvc() -> "psutil.Process | None":
    """Find the nearest ancestor process that is no shell; None if dvc has already ended."""
    import psutil  # DVC brings it

    for ancestor in psutil.Process().parents():
        with suppress(psutil.Error):
            name = os.path.basename(ancestor.exe()).lower()
            if "python" in name or "dvc" in name:
                return ancestor
    return None
