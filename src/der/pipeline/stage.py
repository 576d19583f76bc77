"""The frame of every stage: what it is given, its command line, its time, and errors in one line."""

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from der.core.errors import UserError, advising, ending_in_a_sentence
from der.core.registry import imported_own
from der.pipeline.fingerprint import Code, check_fingerprint, describe, named_modules
from der.pipeline.params import read_params
from der.pipeline.parent import end_with_dvc
from der.pipeline.paths import fingerprint
from der.pipeline.processes import is_member
from der.pipeline.timing import timed
from der.pipeline.watching import HAS_SAID, PATIENCE


class Given:
    """What a stage was given when it began: its code, as stage check has read it.

    To be made when the script has been imported; raises UserError if the code on disk is other code.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        path = fingerprint(stage)
        if not path.is_file():
            raise UserError(f"{path}: missing; run `dvc repro`, without --single-item")
        said = path.read_text(encoding="utf-8", errors="replace")
        self.named = named_modules(read_params())
        code = Code(self.named)
        self.reached = code.reach(f"stages.{stage}")
        self.hashes = code.hash_reached(self.reached)
        self.text = describe(self.hashes)
        self.confirmed = self._loaded()
        self.earlier = frozenset(imported_own)
        if said != self.text:
            check_fingerprint(path)
            raise self._changed()

    def load(self, device: str) -> None:
        """Import all of the library that the stage's code has, lest it be edited before it is needed.

        Kernels of ``device`` "cuda" are left out on others, which may lack what they need. Then ``confirm``.
        """
        for name in sorted(self.reached):
            if not name.startswith(("stages", "der.model.kernels.") if device != "cuda" else "stages"):
                importlib.import_module(name)
        self.confirm()

    def confirm(self) -> None:
        """Raise UserError if a module that was imported since the last call had been edited before.

        A stage calls it after its imports, and before it writes results: what is edited while it runs
        neither stops it nor comes into its results.
        """
        if not imported_own - self.earlier <= self.hashes.keys():  # params.yaml names others than check read
            raise self._changed()
        loaded, code = self._loaded(), Code(self.named)
        for name in loaded - self.confirmed:
            if code.hash_module(name, self.reached[name]) != self.hashes.get(name, ""):
                raise self._changed()
        self.confirmed = loaded

    def _loaded(self) -> set[str]:
        """The modules of its code that this process has imported."""
        return sys.modules.keys() & self.reached.keys()

    def _changed(self) -> UserError:
        return UserError(
            f"{self.stage}: its code has been edited since stage check read it; run `dvc repro`, without "
            "--single-item"
        )


StageWork = Callable[[Given], str]  # a stage's work; returns a sentence for users


def run_check(run: Callable[[], str]) -> None:
    """Run stage check as the program, which writes what the others are held to."""
    _read_arguments("check")
    perform_check(run)


def run_stage(stage: str, run: StageWork) -> None:
    """Run another stage as the program; its command line has no arguments."""
    _read_arguments(stage)
    perform_stage(stage, run)


def run_step(stage: str, run: Callable[[int, Given], str]) -> None:
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
    """Run the work of stage check, and print the sentence that it returns."""
    with framing("check"):
        print(run(), flush=True)


def perform_stage(name: str, run: StageWork) -> None:
    """Run the work of a stage, "split" or "train_task@2" in DVC's graph, and print the sentence it returns.

    It fails if what it ran on is not what it was given. A process that only helps with it prints nothing.
    """
    if is_member():
        with ending_as_member():
            run(Given(name.partition("@")[0]))
        return
    with framing(name):
        given = Given(name.partition("@")[0])
        sentence = run(given)
        given.confirm()
        print(sentence, flush=True)


@contextmanager
def framing(name: str) -> Iterator[None]:
    """Keep how long a stage took; what users can mend becomes one line and exit status 1."""
    with ending_in_a_sentence("interrupted; the next `dvc repro` goes on from here"), advising(), timed(name):
        yield


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
