"""What all stage scripts share: arguments, the code they run, and errors in one line."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from der.core.errors import UserError, ending_in_a_sentence
from der.pipeline.damage import advising
from der.pipeline.parent import end_with_dvc
from der.pipeline.processes import is_member
from der.pipeline.running_code import RunningCode
from der.pipeline.timing import timed
from der.pipeline.watching import HAS_SAID, PATIENCE

StageWork = Callable[[RunningCode], str]  # a stage's work; returns a sentence for users


def run_check(run: Callable[[], str]) -> None:
    """Run stage check as the program, which writes what the others are held to."""
    _read_arguments("check")
    perform_check(run)


def run_stage(stage: str, run: StageWork) -> None:
    """Run another stage as the program; its command line has no arguments."""
    _read_arguments(stage)
    perform_stage(stage, run)


def run_step(stage: str, run: Callable[[int, RunningCode], str]) -> None:
    """As run_stage, with the step from the command line."""
    (step,) = _read_arguments(stage, step="the incremental step, from 1")
    perform_stage(f"{stage}@{step}", partial(run, step))


def _read_arguments(stage: str, **helps: str) -> list[int]:
    """The whole numbers of the command line, each with its help; then the process ends with dvc."""
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}")
    for name, text in helps.items():
        parser.add_argument(name, type=int, help=text)
    arguments = vars(parser.parse_args())
    end_with_dvc()
    return [arguments[name] for name in helps]


def perform_check(run: Callable[[], str]) -> None:
    """Run the work of stage check, and keep how long it took."""

    def run_timed() -> str:
        with timed("check"):
            return run()

    perform(run_timed)


def perform_stage(name: str, run: StageWork) -> None:
    """Run the work of a stage, "split" or "train_task@2" in DVC's graph, and keep how long it took.

    It fails if the code that it ran is not what its fingerprint says. A process that only helps with it keeps
    nothing.
    """
    if is_member():
        with ending_as_member():
            run(RunningCode(name.partition("@")[0]))
        return

    def run_confirmed() -> str:
        with timed(name):
            code = RunningCode(name.partition("@")[0])
            sentence = run(code)
            code.confirm()
        return sentence

    perform(run_confirmed)


@contextmanager
def ending_as_member() -> Iterator[None]:
    """Have what users can mend end a program that helps another.

    What is wrong with the inputs the first process finds, too: it says so, and this one is ended. What is
    left is wrong here alone, as a file that this machine lacks, and is said here.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(1)
    except (UserError, OSError):
        time.sleep(PATIENCE)
        try:
            with ending_in_a_sentence("interrupted"):
                raise
        except SystemExit as end:
            print(end.code, file=sys.stderr, flush=True)
        sys.exit(HAS_SAID)


def perform(run: Callable[[], str]) -> None:
    """Print the sentence that ``run`` returns; what users can mend is one line and exit status 1."""
    with ending_in_a_sentence("interrupted; the next `dvc repro` goes on from here"), advising():
        print(run(), flush=True)
