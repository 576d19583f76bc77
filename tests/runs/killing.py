"""Commands of a pipeline that run beside the test, to be killed at any moment."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.runs.lab import Pipeline

PATIENCE = 1200  # seconds until something that should happen counts as not happening
TRAINING = re.compile(r"^train_task \d, .*: (epoch|going on)", re.MULTILINE)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Started:
    """A command under way, in a process group of its own."""

    def __init__(self, pipeline: Pipeline, *line: str, **variables: str) -> None:
        self.log = pipeline.root.parent / f"{uuid.uuid4().hex}.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *line],
                cwd=pipeline.root,
                env=pipeline.plain().environment() | variables,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait_for_training(self) -> None:
        """Until an epoch is over, or all is."""
        wait_for(lambda: self.ended() or TRAINING.search(self.printed))

    def trainers(self) -> list[psutil.Process]:
        """The processes of train_task, if there are any now."""
        found = []
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            for process in (root, *root.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    found += [process] if "stages.train_task" in process.cmdline() else []
        return found

    def kill(self) -> None:
        """Kill all its processes at once, and wait until they have ended."""
        trainers = self.trainers()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        wait_for(lambda: all(has_status(trainer, psutil.STATUS_ZOMBIE) for trainer in trainers))


def has_status(process: psutil.Process, status: str) -> bool:
    """Also if it is gone: nobody else may have asked for the exit status of one that has ended."""
    try:
        return not process.is_running() or process.status() == status
    except psutil.NoSuchProcess:
        return True


@contextmanager
def started(pipeline: Pipeline, *line: str, **variables: str) -> Iterator[Started]:
    """A command that does not outlive the block."""
    one = Started(pipeline, *line, **variables)
    try:
        yield one
    finally:
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()
