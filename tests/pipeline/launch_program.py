"""Work in several processes, of which some do WHAT: python -m tests.pipeline.launch_program RANKS WHAT."""

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import torch

from der.core import distributed
from der.core.errors import UserError
from der.pipeline import environment
from der.pipeline.environment import own_rank
from der.pipeline.stage import ending

# So that a test takes seconds; what is shorter is only how long one waits.
distributed.ANSWER = timedelta(seconds=4)
RANKS, WHAT = sys.argv[1:]


def refuse() -> None:
    raise UserError("here: wrong; write it")


def wait() -> None:
    os.write(1, b"waiting\n")  # at once: two ranks write to one pipe
    time.sleep(1000)


ACTS: dict[str, Callable[[], None]] = {
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "refuses": refuse,
    "waits": wait,
}


def work() -> None:
    environment.end_with_parent()
    for batch in range(20):
        if batch == 10 and str(own_rank()) in RANKS:
            ACTS[WHAT]()
        distributed.all_reduce([torch.ones(3)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    with ending():
        environment.run_together(work, "tests.pipeline.launch_program", RANKS, WHAT)
