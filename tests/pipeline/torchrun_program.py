"""All stages under torchrun, with other work: torchrun ... -m tests.pipeline.torchrun_program RANK.

RANK is killed at work; in the end each says whether it has left the others.
"""

import os
import signal
import sys

from torch import distributed

from der.core import distributed
from stages import __main__ as all_stages

KILLED = sys.argv.pop(1)  # the stages read what is left


def work(*_: object) -> None:
    for turn in range(20):
        if turn == 10 and str(distributed.rank()) == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        all_stages.meet()


if __name__ == "__main__":
    all_stages.run_all = work
    all_stages.main()
    print("joined" if distributed.is_initialized() else "left")
