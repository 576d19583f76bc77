"""Runs at once on one machine, against the same runs one after the other."""

import statistics
import time
from contextlib import ExitStack
from typing import NamedTuple

import torch

from bench.cases import Case
from bench.contender import Contender

RUNS = (1, 2, 3)  # at once
EPOCHS = 20  # of each run
TURNS = 3


class Together(NamedTuple):
    """Some runs of one contender at once, from the start of their processes to the end of the last."""

    case: str
    contender: str
    runs: int
    seconds: float  # median
    times_in_turn: float  # the seconds of as many runs one after the other, over these


def measure_together(case: Case, name: str, device: torch.device) -> list[Together]:
    """Epochs of step 1 by 1, 2 and 3 runs at once, in turns."""
    turns = [{runs: _time(case, name, device, runs) for runs in RUNS} for _ in range(TURNS)]
    seconds = {runs: statistics.median(turn[runs] for turn in turns) for runs in RUNS}
    return [
        Together(case.name, name, runs, seconds[runs], runs * seconds[1] / seconds[runs]) for runs in RUNS
    ]


def _time(case: Case, name: str, device: torch.device, runs: int) -> float:
    begin = time.perf_counter()
    with ExitStack() as stack:
        contenders = [stack.enter_context(Contender(name, case, device)) for _ in range(runs)]
        for started in [contender.start_epochs(EPOCHS) for contender in contenders]:
            started.result()
        return time.perf_counter() - begin
