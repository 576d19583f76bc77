"""What all stage scripts share: arguments, the code they run, and errors in one line."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from der.core.errors import ending_in_a_sentence
from der.pipeline.damage import advising
from der.pipeline.environment import is_worker
from der.pipeline.launch import end_with_parent, letting_others_speak, run_together
from der.pipeline.markers import is_unused
from der.pipeline.paths import test_images, train_images
from der.pipeline.running_code import RunningCode
from der.pipeline.timing import timed

# Stages that several processes work on, and the input that says whether there is work at a step.
SHARED = {"train_task": train_images, "build_memory": train_images, "evaluate": test_images}
INTERRUPTED = "interrupted; the next `dvc repro` goes on from here"

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
    """As run_stage, with the step from the command line, and in several processes if that is asked for."""
    (step,) = _read_arguments(stage, step="the incremental step, from 1")
    name = f"{stage}@{step}"
    work = partial(perform_stage, name, partial(run, step))
    with ending():
        if is_shared(name):
            run_together(work, f"stages.{stage}", str(step))
        else:
            work()


def _read_arguments(stage: str, **helps: str) -> list[int]:
    """The whole numbers of the command line, each with its help; then the process ends with its parent."""
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}")
    for name, text in helps.items():
        parser.add_argument(name, type=int, help=text)
    arguments = vars(parser.parse_args())
    end_with_parent()
    return [arguments[name] for name in helps]


def perform_check(run: Callable[[], str]) -> None:
    """Run the work of stage check, and keep how long it took."""

    def run_timed() -> str:
        with timed("check"):
            return run()

    perform(run_timed)


def perform_stage(name: str, run: StageWork) -> None:
    """Run the work of a stage, "split" or "train_task@2" in DVC's graph, and keep how long it took.

    It fails if the code that it ran is not what its fingerprint says. A worker keeps nothing.
    """
    stage = name.partition("@")[0]
    if is_worker():
        with ending():
            run(RunningCode(stage))
        return

    def run_confirmed() -> str:
        with timed(name):
            code = RunningCode(stage)
            sentence = run(code)
            code.confirm()
        return sentence

    perform(run_confirmed)


def is_shared(name: str) -> bool:
    """Tell whether several processes may work on a stage."""
    stage, _, step = name.partition("@")
    return stage in SHARED and not is_unused(SHARED[stage](int(step)))


@contextmanager
def ending() -> Iterator[None]:
    """End the program with one line and exit status 1 where users can put right what is wrong."""
    with ending_in_a_sentence(INTERRUPTED), advising(), letting_others_speak():
        yield


def perform(run: Callable[[], str]) -> None:
    """Print the sentence that ``run`` returns, or end with one."""
    with ending():
        print(run(), flush=True)
