"""`python -m bench.pycil PYCIL_CHECKOUT IMAGES.npz --out FILE.json`: see bench/pycil/README.md."""

import argparse
import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.pycil.accuracy import format_accuracy, learn_seeds
from bench.pycil.contenders import CONTENDERS, DEFAULTS
from bench.pycil.images import write_images
from bench.pycil.plans import PLANS, shorten
from bench.pycil.process import Job
from bench.pycil.results import Record, add_record, read_records
from bench.pycil.speed import format_speed, measure


def parse_seeds(words: Iterable[str]) -> list[int]:
    """Seeds of "3" and ranges "0-99", both ends included."""
    seeds: list[int] = []
    for word in words:
        low, _, high = word.partition("-")
        seeds += range(int(low), int(high or low) + 1)
    return seeds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pycil", description=__doc__)
    parser.add_argument("checkout", type=Path, help="directory of a clone of PyCIL")
    parser.add_argument("images", type=Path, help=".npz with train_x, train_y, test_x, test_y of CIFAR-100")
    parser.add_argument("--case", choices=PLANS, default="speed")
    parser.add_argument("--programs", nargs="+", choices=CONTENDERS, help="other than the case's own")
    parser.add_argument("--seeds", nargs="+", default=["0", "1"], help="numbers and ranges, 0-99")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="few images, two epochs: a check of the harness")
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON; what it holds already is not run again"
    )
    given = parser.parse_args()
    plan = shorten(PLANS[given.case]) if given.quick else PLANS[given.case]
    contenders = [CONTENDERS[name] for name in given.programs or DEFAULTS[given.case]]
    head = describe(given.case, given.quick, given.device)
    seeds = parse_seeds(given.seeds)

    def keep(records: Iterable[Record]) -> None:
        for record in records:
            add_record(given.out, head, record)

    if given.case == "parity":
        from bench.pycil.parity import compare

        for seed in seeds:
            with TemporaryDirectory() as root:
                write_images(given.images, plan, seed, Path(root))
                for one in compare(given.checkout, plan, Path(root), seed):
                    record: Record = {"program": one.what, "seed": seed, "step": one.step, "value": one.value}
                    print(json.dumps(record))
                    keep([record])
        return
    if given.case == "speed":
        if given.out.exists():
            sys.exit(f"error: {given.out} is there already; name another file, speeds are measured in one go")
        with TemporaryDirectory() as root:
            write_images(given.images, plan, seeds[0], Path(root))
            job = Job(plan, Path(root), seeds[0], given.device)
            keep(measure(contenders, given.checkout, job, say))
        print(format_speed(read_records(given.out)))
        return

    def is_done(seed: int, program: str) -> bool:
        records = read_records(given.out)  # others may add to it
        return any((record["seed"], record["program"]) == (seed, program) for record in records)

    keep(learn_seeds(contenders, given.checkout, given.images, plan, seeds, given.device, is_done, say))
    print(format_accuracy(read_records(given.out)))


def describe(case: str, quick: bool, device: str) -> Record:
    """What stands beside the runs."""
    from bench.pycil.ours import name_processor

    return {
        "case": case,
        "device": device,
        "processor": name_processor(),
        "quick": quick,
        "torch": version("torch"),
    }


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
