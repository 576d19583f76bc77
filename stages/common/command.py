"""What all stage scripts share: arguments, and errors in one line."""

import argparse
import sys
from collections.abc import Callable

from der.common.errors import UserError


def run_stage(run: Callable[[], str]) -> None:
    """Run a stage and print the sentence it returns; a UserError becomes one line and exit status 1."""
    try:
        print(run(), flush=True)
    except UserError as error:
        sys.exit(f"error: {error}")


def run_step(run: Callable[[int], str]) -> None:
    """As run_stage, with the step's number from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", type=int, help="number of the incremental step, from 1")
    step = parser.parse_args().step
    run_stage(lambda: run(step))
