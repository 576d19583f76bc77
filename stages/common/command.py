"""What all stage scripts share: arguments, and errors in one line."""

import argparse
import os
import threading
import time
from collections.abc import Callable

from der.common.errors import ending_in_a_sentence

WATCH_SECONDS = 0.1


def run_stage(run: Callable[[], str]) -> None:
    """Run a stage and print the sentence it returns; what users can mend is one line and exit status 1."""
    end_with_dvc()
    with ending_in_a_sentence("interrupted; the next `dvc repro` goes on from here"):
        print(run(), flush=True)


def end_with_dvc() -> None:
    """Have this process end soon after the dvc that started it, however that ended.

    A dvc that is killed leaves its stage running, and the next repro would start a second one beside it.
    """
    if "DVC_STAGE" not in os.environ:
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)  # at any moment: outputs and training state are whole or absent

    threading.Thread(target=watch, daemon=True).start()


def run_step(run: Callable[[int], str]) -> None:
    """As run_stage, with the step's number from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", type=int, help="number of the incremental step, from 1")
    step = parser.parse_args().step
    run_stage(lambda: run(step))
