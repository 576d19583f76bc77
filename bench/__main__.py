"""`python -m bench`: the engine against a plain loop, step by step; results go to bench/results."""

import argparse
import sys

import torch

from bench.cases import Case, list_cases
from bench.measure import measure_all
from bench.results_file import INCLUDED, RESULTS, describe_machine, round_figures, write_results
from bench.table import format_summary, format_table, format_together
from bench.together import Together, measure_together
from der.core.errors import UserError
from der.pipeline.environment import find_device

TOGETHER = "runs at once"


def main() -> None:
    arguments = build_parser().parse_args()
    try:
        device = find_device()
    except UserError as error:
        sys.exit(f"error: {error}")
    every = list_cases(device, arguments.quick)
    names = [case.name for case in every] + [TOGETHER] * (device.type == "cpu")
    wanted = arguments.case or names
    if not set(wanted) <= set(names):
        sys.exit(f"error: --case: there is no such case; write one of {'; '.join(names)}")
    cases = [case for case in every if case.name in wanted]
    rows, bandwidth = measure_all(cases, device, lambda text: print(text, file=sys.stderr, flush=True))
    rows = [round_figures(row) for row in rows]
    together = run_together(every, device) if TOGETHER in wanted else []
    machine = describe_machine(device)
    tables = [format_table(rows), format_summary(rows)] if rows else []
    print(*tables, *([format_together(together)] if together else []), sep="\n\n")
    print(
        f"\n{machine.card or machine.processor}, {machine.cores} cores, copies at {bandwidth / 1e9:.1f} GB/s"
    )
    print(INCLUDED)
    if not (arguments.quick or arguments.case):
        print(write_results(RESULTS, machine, rows, bandwidth, together))


def build_parser() -> argparse.ArgumentParser:
    """The command line; results of a part are not written, for the file holds those of one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="few images, one epoch: a check of the bench, written nowhere"
    )
    parser.add_argument(
        "--case",
        action="append",
        metavar="NAME",
        help="only this one, by its name in the tables; not written",
    )
    return parser


def run_together(cases: list[Case], device: torch.device) -> list[Together]:
    """The digits, and colour images in bfloat16, by several runs at once."""
    digits, colour = cases[:2]
    found = [*measure_together(digits, "engine float32", device)]
    found += measure_together(colour, "engine bfloat16", device)
    return [round_figures(row) for row in found]


if __name__ == "__main__":
    main()
