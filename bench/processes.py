"""`python -m bench.processes`: a step trained by one process and by two, with one thread each, and with two.

Each contender trains the same epochs in turns, in processes of its own: seconds per epoch, the median of all
turns, and their ratio to one process with one thread. Then the digits' whole protocol by one process and by
two, for several seeds: the accuracies. Results go to bench/results/processes/times.json.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from bench.pipeline_copy import copy_pipeline, edit_parameters, environment
from bench.results_file import RESULTS, describe_processor
from der.core.files import read_json, write_json
from der.settings.sections import Precision

TURNS = 3
EPOCHS = 3  # measured in a turn, after one that is not
SEEDS = (0, 1, 2)
# Of a check of the bench: one epoch of the smallest network at every step.
QUICK = {
    "network.depth": 8,
    **{f"train.{phase}.epochs": 1 for phase in ("base", "incremental")},
    **{f"train.{phase}.milestones": [] for phase in ("base", "incremental")},
}
CASES = (("digits, 8x8", "float32"), ("colour, 32x32", "float32"), ("colour, 32x32", "bfloat16"))
ACCURACIES = ("average_top1", "last_top1")


class Contender(NamedTuple):
    """How many work, and on how many threads each."""

    processes: int
    threads: int


CONTENDERS = (Contender(1, 1), Contender(2, 1), Contender(1, 2))


def train(rank: int, contender: Contender, store: Path, case_name: str, precision: Precision) -> list[float]:
    """Seconds of every measured epoch of step 1 in this process, which is one of the contender's."""
    from torch._C._distributed_c10d import FileStore

    from bench.cases import list_cases, prepare
    from bench.engine_loop import EngineLoop
    from der.core import distributed
    from der.core.device import set_up_device

    torch.set_num_threads(contender.threads)
    device = set_up_device("cpu")
    if contender.processes > 1:
        distributed.join(rank, contender.processes, device, FileStore(str(store), contender.processes))
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
    """One turn of a contender, in new processes; ends the bench if one of them fails."""
    with TemporaryDirectory() as directory:
        words = [*map(str, contender), f"{directory}/store", case, precision]
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.processes", "--rank", str(rank), *words],
                env=os.environ | {"GLOO_SOCKET_IFNAME": "lo"},
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(contender.processes)
        ]
        printed = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit(f"error: {case}, {precision}: a process of {contender.processes} failed")
    found: list[float] = json.loads(printed[0])
    return found


def measure_seconds(turns: int) -> Iterator[dict[str, Any]]:
    """A row for every case and contender."""
    for case, precision in CASES:
        seconds: dict[Contender, list[float]] = {contender: [] for contender in CONTENDERS}
        for _ in range(turns):
            for contender in CONTENDERS:
                seconds[contender] += run_turn(contender, case, precision)
        alone = median(seconds[CONTENDERS[0]])
        for contender, found in seconds.items():
            times = round(alone / median(found), 3)  # as fast as one process with one thread
            row = {"case": case, "precision": precision, **contender._asdict()}
            yield row | {"seconds_per_epoch": round(median(found), 4), "times_one": times}


def train_protocol(seed: int, processes: int, values: dict[str, Any]) -> dict[str, Any]:
    """The accuracies of a run of all stages in a copy of the pipeline, with one thread each."""
    with TemporaryDirectory() as directory:
        root = Path(directory) / "pipeline"
        copy_pipeline(root)
        edit_parameters(root, {"train.seed": seed, **values})
        variables = {"DER_PROCESSES": str(processes), "DER_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [sys.executable, "-m", "stages"],
            cwd=root,
            env=environment(root) | variables | {"PYTHONPATH": "src"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        summary = read_json(root / "metrics/summary.json")
    return {"seed": seed, "processes": processes, **{name: summary[name] for name in ACCURACIES}}


def measure_accuracies(seeds: tuple[int, ...], values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for every seed and number of processes."""
    for seed in seeds:
        for processes in (1, 2):
            yield train_protocol(seed, processes, values)


def differences(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of every accuracy, that of two processes less that of one, seed by seed, and the mean."""
    found: dict[str, Any] = {}
    for name in ACCURACIES:
        one, two = ([row[name] for row in rows if row["processes"] == count] for count in (1, 2))
        by_seed = [round(right - left, 4) for left, right in zip(one, two, strict=True)]
        found[name] = {"by_seed": by_seed, "mean": round(mean(by_seed), 4)}
    return found


def main() -> None:
    arguments = build_parser().parse_args()
    if arguments.rank is not None:
        processes, threads, store, case, kind = arguments.words
        precision: Precision = "bfloat16" if kind == "bfloat16" else "float32"
        contender = Contender(int(processes), int(threads))
        print(json.dumps(train(arguments.rank, contender, Path(store), case, precision)))
        return
    run_bench(arguments.quick)


def build_parser() -> argparse.ArgumentParser:
    """The command line, also of the processes that this one starts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="one turn, one seed, few epochs: a check, written nowhere"
    )
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    return parser


def run_bench(quick: bool) -> None:
    """Measure, and write what is found."""
    seconds = [tell(row) for row in measure_seconds(1 if quick else TURNS)]
    rows = measure_accuracies(SEEDS[:1], QUICK) if quick else measure_accuracies(SEEDS, {})
    accuracies = [tell(row) for row in rows]
    report = {
        "accuracies": accuracies,
        "machine": describe_processor(),
        "seconds": seconds,
        "two less one": differences(accuracies),
    }
    print(json.dumps(report["two less one"]))
    if not quick:
        path = RESULTS / "processes/times.json"
        path.parent.mkdir(exist_ok=True)
        write_json(path, report)


def tell(row: dict[str, Any]) -> dict[str, Any]:
    """Print a row as soon as it is there."""
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
