"""`python -m bench`: the engine against a plain loop, step by step; results go to bench/results."""

import argparse
import sys

from bench.cases import list_cases
from bench.measure import measure_all
from bench.results_file import INCLUDED, RESULTS, describe_machine, round_figures, write_results
from bench.table import format_summary, format_table
from der.common.errors import UserError
from der.project.environment import find_device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="few images, one epoch: a check of the bench, written nowhere"
    )
    quick = parser.parse_args().quick
    try:
        device = find_device()
    except UserError as error:
        sys.exit(f"error: {error}")
    rows, bandwidth = measure_all(
        list_cases(device, quick), device, lambda text: print(text, file=sys.stderr, flush=True)
    )
    rows = [round_figures(row) for row in rows]
    machine = describe_machine(device)
    print(format_table(rows), format_summary(rows), sep="\n\n")
    print(
        f"\n{machine.card or machine.processor}, {machine.cores} cores, copies at {bandwidth / 1e9:.1f} GB/s"
    )
    print(INCLUDED)
    if not quick:
        print(write_results(RESULTS, machine, rows, bandwidth))


if __name__ == "__main__":
    main()
