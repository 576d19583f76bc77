"""A team of which one stops answering: python -m tests.project.team_program RANK, with DER_PROCESSES."""

import os
import signal
import sys
from datetime import timedelta

import torch

from der.common import ranks
from der.common.errors import ending_in_a_sentence
from der.project import team
from der.project.stage import ending_silently

# So that a test takes seconds; what is shorter is only how long one waits.
ranks.ANSWER = timedelta(seconds=4)
team.PATIENCE = 2


def main() -> None:
    torch.set_num_threads(1)
    program = ("tests.project.team_program", *sys.argv[1:])
    ending = ending_silently() if team.is_member() else ending_in_a_sentence("interrupted")  # as stages end
    with ending, team.team(program, torch.device("cpu")):
        for turn in range(100):
            if turn == 10 and team.own_rank() == int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGSTOP)
            ranks.sum_in_place([torch.ones(3)])
    print("all 100 turns")


if __name__ == "__main__":
    main()
