"""PyCIL's DER beside ours: see bench/pycil/README.md."""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from bench.pycil.accuracy import format_accuracy, learn_seeds
from bench.pycil.contenders import CONTENDERS, DEFAULTS, Contender
from bench.pycil.images import prepare_job
from bench.pycil.plans import PLANS, Plan, shorten
from bench.pycil.process import start_learners
from bench.pycil.results import Record, Results
from bench.pycil.speed import format_speed, measure
from der.core.cost import processor_name
from der.core.errors import UserError


def parse_arguments() -> argparse.Namespace:
    """What the user typed."""
    parser = argparse.ArgumentParser(prog="python -m bench.pycil", description=__doc__)
    parser.add_argument("checkout", type=parse_checkout, help="directory of a clone of PyCIL")
    parser.add_argument("images", type=Path, help=".npz with train_x, train_y, test_x, test_y of CIFAR-100")
    parser.add_argument("--case", choices=PLANS, default="speed")
    parser.add_argument("--programs", nargs="+", choices=CONTENDERS, help="other than the case's own")
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=parse_seeds,
        default=[[0]],
        help="numbers and ranges, 0-99; speed takes one",
    )
    parser.add_argument("--device", default="cpu", help="of torch; parity is on the CPU")
    parser.add_argument("--quick", action="store_true", help="few images, two epochs: a check of the harness")
    parser.add_argument("--out", type=Path, required=True, help="JSON; runs that it holds are not run again")
    return parser.parse_args()


def parse_checkout(text: str) -> Path:
    """A directory that holds PyCIL."""
    if not (Path(text) / "models" / "der.py").is_file():
        raise argparse.ArgumentTypeError(
            f"{text}: no PyCIL; write where `git clone https://github.com/LAMDA-CL/PyCIL` put it"
        )
    return Path(text)


def parse_seeds(text: str) -> list[int]:
    """The seed "3", or those of the range "0-99", both ends included."""
    low, _, high = text.partition("-")
    return [*range(int(low), int(high or low) + 1)]


def main() -> None:
    given = parse_arguments()
    plan = shorten(PLANS[given.case]) if given.quick else PLANS[given.case]
    seeds = [seed for part in given.seeds for seed in part]
    results = Results(given.out, describe(given.case, given.quick, given.device))
    try:
        results.check()
        if given.case in ("accuracy", "short"):
            run_accuracy(given, plan, seeds, results)
        elif len(seeds) > 1:
            raise UserError(f"--seeds: {given.case} takes one; write it alone")
        elif given.case == "parity":
            run_parity(given, plan, seeds[0], results)
        else:
            run_speed(given, plan, seeds[0], results)
    except UserError as error:
        sys.exit(f"error: {error}")


def describe(case: str, quick: bool, device: str) -> Record:
    """What stands beside the runs."""
    return {
        "case": case,
        "device": device,
        "processor": processor_name(),
        "quick": quick,
        "torch": version("torch"),
    }


def run_parity(given: argparse.Namespace, plan: Plan, seed: int, results: Results) -> None:
    """Print and keep the differences."""
    from bench.pycil.parity import compare  # not in the contenders' processes

    with prepare_job(given.images, plan, seed, "cpu") as job:
        for one in compare(given.checkout, job):
            record: Record = {**one._asdict(), "seed": seed}
            print(json.dumps(record), flush=True)
            results.add(record)


def run_speed(given: argparse.Namespace, plan: Plan, seed: int, results: Results) -> None:
    """Keep the times, and print their table."""
    if results.read():
        raise UserError(f"{given.out}: speeds are measured in one go; name a new file")
    with (
        prepare_job(given.images, plan, seed, given.device) as job,
        start_learners(choose_contenders(given), given.checkout) as learners,
    ):
        for record in measure(learners, job, say):
            results.add(record)
    print(format_speed(results.read()))


def run_accuracy(given: argparse.Namespace, plan: Plan, seeds: Sequence[int], results: Results) -> None:
    """Keep the accuracies of the seeds that are not there yet, and print a table of all."""
    prepare = partial(prepare_job, given.images, plan, device=given.device)
    with start_learners(choose_contenders(given), given.checkout) as learners:
        learn_seeds(learners, prepare, seeds, results, say)
    print(format_accuracy(results.read()))


def choose_contenders(given: argparse.Namespace) -> list[Contender]:
    """Those that were named, or the case's own."""
    return [CONTENDERS[name] for name in given.programs or DEFAULTS[given.case]]


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
