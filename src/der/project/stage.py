"""What all stage scripts share: arguments, and errors in one line."""

import argparse
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

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
    import psutil  # DVC brings it

    def find_dvc() -> psutil.Process | None:
        # The nearest ancestor that is no shell; none if dvc has ended already.
        for ancestor in psutil.Process().parents():
            with suppress(psutil.Error):
                name = os.path.basename(ancestor.exe()).lower()
                if "python" in name or "dvc" in name:
                    return ancestor
        return None

    def runs(process: psutil.Process) -> bool:
        try:
            return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    dvc = find_dvc()

    def watch() -> None:
        while dvc is not None and runs(dvc):
            time.sleep(WATCH_SECONDS)
        os._exit(1)  # at any moment: outputs and training state are whole or absent

    threading.Thread(target=watch, daemon=True).start()


def run_step(run: Callable[[int], str]) -> None:
    """As run_stage, with the step's number from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", type=int, help="number of the incremental step, from 1")
    step = parser.parse_args().step
    run_stage(lambda: run(step))
