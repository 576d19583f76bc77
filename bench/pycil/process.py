"""A contender in a process of its own: its settings and its memory are its own, and it waits for its turn."""

import multiprocessing
import resource
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from bench.pycil.contenders import Contender, Event, Job

SAMPLE_SECONDS = 2.0  # between looks at the memory


class Report(NamedTuple):
    """What a contender's process says at the end of a turn."""

    event: Event | None  # None: the run has ended
    peak_mb: float  # most memory resident so far, workers that read images not counted
    error: str | None = None


class Learner:
    """A contender's process; a context manager. It runs only inside ``events``, between two of them."""

    def __init__(self, contender: Contender, checkout: Path) -> None:
        self.contender = contender
        self.peak_mb = 0.0  # of the process
        self.peak_family_mb = 0.0  # of the process and those it started, shared memory counted once; sampled
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # Not a daemon: those may have no children, which PyCIL's loaders need.
        self.process = context.Process(target=_serve, args=(theirs, contender, checkout))
        self.process.start()
        theirs.close()

    def __enter__(self) -> "Learner":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.pipe.send(None)
        self.pipe.close()
        self.process.join()

    def events(self, job: Job) -> Iterator[Event]:
        """Run ``job``, from one event to the next whenever the next is asked for."""
        message: object = job
        while True:
            self.pipe.send(message)
            report = self._wait()
            if report.error is not None:
                raise RuntimeError(f"{self.contender.name}: {report.error}")
            self.peak_mb = report.peak_mb
            if report.event is None:
                return
            yield report.event
            message = "go on"

    def _wait(self) -> Report:
        while not self.pipe.poll(SAMPLE_SECONDS):
            assert self.process.pid is not None
            self.peak_family_mb = max(self.peak_family_mb, family_mb(self.process.pid))
        report: Report = self.pipe.recv()
        return report


@contextmanager
def start_learners(contenders: Sequence[Contender], checkout: Path) -> Iterator[list[Learner]]:
    """A process for each contender, until the block ends."""
    with ExitStack() as stack:
        yield [stack.enter_context(Learner(contender, checkout)) for contender in contenders]


def family_mb(pid: int) -> float:
    """Memory of a process and all it started, what they share counted once; 0 where unknown."""
    total = 0
    with suppress(psutil.Error, OSError):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            total += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
    return total / 1e6


def _serve(pipe: Connection, contender: Contender, checkout: Path) -> None:
    with suppress(EOFError, KeyboardInterrupt, ConnectionError):
        while (job := pipe.recv()) is not None:
            try:
                _run(pipe, contender, checkout, job)
            except (EOFError, ConnectionError):
                raise
            except Exception:
                pipe.send(Report(None, peak_mb(), traceback.format_exc()))
            else:
                pipe.send(Report(None, peak_mb()))


def _run(pipe: Connection, contender: Contender, checkout: Path, job: Job) -> None:
    if job.plan.threads is not None:
        torch.set_num_threads(job.plan.threads)

    def tell(event: Event) -> None:
        pipe.send(Report(event, peak_mb()))
        pipe.recv()

    # Imported here: each program's memory is its own.
    if contender.program == "pycil":
        from bench.pycil import theirs

        theirs.learn(checkout, contender, job, tell)
    else:
        from bench.pycil import ours

        ours.learn(contender, job, tell)


def peak_mb() -> float:
    """The most memory that this process had resident."""
    if sys.platform == "linux":
        # Not getrusage: there a new process starts with the peak of the one that started it.
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
