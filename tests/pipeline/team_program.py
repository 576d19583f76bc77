"""A team of which one stops: python -m tests.pipeline.team_program RANK PLACE, with DER_PROCESSES.

RANK stops at PLACE: at the start, at work, where others wait for the first's own work, or at the end.
"""

import os
import signal
import sys
import time
from datetime import timedelta

from der.core import distributed
from der.core.errors import ending_in_a_sentence
from der.pipeline import team, watching
from der.pipeline.environment import is_member, own_rank
from der.pipeline.launch import end_with_dvc
from der.pipeline.stage import ending_as_member

end_with_dvc()  # before torch, as stages do
import torch  # noqa: E402

# So that a test takes seconds; what is shorter is only how long one waits.
distributed.ANSWER = timedelta(seconds=4)
watching.SILENT = 40
watching.NAMING = 1
watching.PATIENCE = 4
team.ENDING = 2
OWN_WORK = 6  # seconds, more than one has to answer


def stop(place: str) -> None:
    if sys.argv[1:] == [str(own_rank()), place]:
        os.kill(os.getpid(), signal.SIGSTOP)


def work() -> None:
    for turn in range(100):
        if turn == 10:
            stop("work")
        distributed.all_reduce([torch.ones(3)])
    stop("meeting")
    if distributed.rank() == 0:
        time.sleep(OWN_WORK)
    distributed.barrier()
    stop("end")


def main() -> None:
    torch.set_num_threads(1)
    stop("start")
    program = ("tests.pipeline.team_program", *sys.argv[1:])
    ending = ending_as_member() if is_member() else ending_in_a_sentence("interrupted")  # as stages end
    with ending, team.team(program, torch.device("cpu")):
        work()
    print("all is done")


if __name__ == "__main__":
    main()
