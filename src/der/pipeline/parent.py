"""Who started this process: the dvc, if one did, or the first of a team."""

import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from der.pipeline.processes import PARENT
from der.pipeline.watching import follow_first

if TYPE_CHECKING:
    import psutil

WATCH_SECONDS = 0.1


def end_with_dvc() -> None:
    """Have this process end soon after the dvc, or the first process of a team, that started it.

    A dvc that is killed leaves its stage running, and the next repro would start a second one beside it.
    """
    if PARENT in os.environ:
        follow_first()
        return
    if "DVC_STAGE" not in os.environ:
        return
    dvc = find_dvc()

    def watch() -> None:
        while dvc is not None and _runs(dvc):
            time.sleep(WATCH_SECONDS)
        os._exit(1)  # at any moment: outputs and training state are whole or absent

    threading.Thread(target=watch, daemon=True).start()


def find_dvc() -> "psutil.Process | None":
    """The nearest ancestor that is no shell; None if dvc has ended already."""
    import psutil  # DVC brings it

    for ancestor in psutil.Process().parents():
        with suppress(psutil.Error):
            name = os.path.basename(ancestor.exe()).lower()
            if "python" in name or "dvc" in name:
                return ancestor
    return None


def _runs(process: "psutil.Process") -> bool:
    import psutil

    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@cache
def name_run() -> str:
    """What the stages of one `dvc repro`, or of one `python -m stages`, have in common, and no others."""
    if "DVC_STAGE" in os.environ and (dvc := find_dvc()) is not None:
        # Its hash is of its number and of when it began, by a clock that nobody sets.
        return f"{platform.node()}-{dvc.pid}-{hash(dvc) & 0xFFFFFFFF:08x}"
    return uuid.uuid4().hex
