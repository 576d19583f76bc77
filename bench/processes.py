"""`python -m bench.processes`: a step trained by one process and by two, with one thread each, and with two.

Each contender trains the same epochs in turns, in processes of its own; printed are seconds per epoch, the
median of all turns, and their ratio to one process with one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from der.common.precision_names import Precision

TURNS = 3
EPOCHS = 3  # measured in a turn, after one that is not


class Contender(NamedTuple):
    """How many work, and on how many threads each."""

    processes: int
    threads: int


CONTENDERS = (Contender(1, 1), Contender(2, 1), Contender(1, 2))


def train(rank: int, contender: Contender, store: Path, case_name: str, precision: Precision) -> list[float]:
    """Seconds of every measured epoch of step 1 in this process, which is one of the contender's."""
    import torch
    from torch._C._distributed_c10d import FileStore

    from bench.cases import list_cases, prepare
    from bench.engine_loop import EngineLoop
    from der.common import ranks
    from der.common.device import set_up_device

    torch.set_num_threads(contender.threads)
    device = set_up_device("cpu")
    if contender.processes > 1:
        ranks.join(rank, contender.processes, device, FileStore(str(store), contender.processes))
    (case,) = (case for case in list_cases(device, quick=False) if case.name == case_name)
    loop = EngineLoop(case, prepare(case, 0), device, precision)
    seconds = []
    for epoch in range(1 + EPOCHS):
        begin = time.perf_counter()
        loop.run_epoch(epoch)
        seconds.append(time.perf_counter() - begin)
    loop.release()
    return seconds[1:]


def run_turn(contender: Contender, case: str, precision: str) -> list[float]:
    """One turn of a contender, in new processes."""
    with TemporaryDirectory() as directory:
        words = [*map(str, contender), f"{directory}/store", case, precision]
        environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.processes", "--rank", str(rank), *words],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(contender.processes)
        ]
        printed = [process.communicate()[0] for process in running]
    found: list[float] = json.loads(printed[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)  # of the processes that this one starts
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank is not None:
        processes, threads, store, case, kind = arguments.words
        precision: Precision = "bfloat16" if kind == "bfloat16" else "float32"
        contender = Contender(int(processes), int(threads))
        print(json.dumps(train(arguments.rank, contender, Path(store), case, precision)))
        return
    for case, precision in (
        ("digits, 8x8", "float32"),
        ("colour, 32x32", "float32"),
        ("colour, 32x32", "bfloat16"),
    ):
        seconds: dict[Contender, list[float]] = {contender: [] for contender in CONTENDERS}
        for _ in range(TURNS):
            for contender in CONTENDERS:
                seconds[contender] += run_turn(contender, case, precision)
        alone = median(seconds[CONTENDERS[0]])
        for contender, found in seconds.items():
            print(
                f"{case}, {precision}: {contender.processes} x {contender.threads} threads: "
                f"{median(found):.2f} s per epoch, {alone / median(found):.2f} x"
            )


if __name__ == "__main__":
    main()
