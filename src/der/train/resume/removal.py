"""Removal of training state: of finished steps, and of runs that nobody went on with.

Whoever started a training may be killed between its end and the moment at which its outputs are taken over,
and then it runs again. So the state of a finished step is kept, marked with its checkpoint, and removed when
the checkpoint is used. The root may hold other things, which stay.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from der.core.sealed import SealedDirectory
from der.train.resume.lock import LOCK, remove_unused

PREFIX = "der-"  # of the names of directories of state
FINISHED = "finished"  # a file in such a directory: of which checkpoint
MAX_AGE = 14 * 24 * 3600  # seconds after which what a run left is removed


def mark_of(checkpoint: Path) -> str:
    """What tells a checkpoint directory from others: every training ends with other weights."""
    return SealedDirectory(checkpoint).digest


def remove_finished(root: Path, checkpoint: Path) -> None:
    """Remove the training state below ``root`` that led to a checkpoint directory."""
    mark = mark_of(checkpoint).encode()
    for directory in _directories(root):
        with suppress(OSError):  # no mark, or none that can be read: only its age counts
            if (directory / FINISHED).is_file() and (directory / FINISHED).read_bytes() == mark:
                remove_unused(directory)


def remove_old(root: Path, age: float = MAX_AGE) -> None:
    """Remove the directories below ``root`` in which nobody has written for ``age`` seconds, or works."""
    for directory in _directories(root):
        with suppress(OSError):  # removed by another process just now
            if time.time() - directory.stat().st_mtime > age:
                remove_unused(directory)


def _directories(root: Path) -> Iterator[Path]:
    """Those of state, but for others' that the user may not look into."""
    # Unlike the path's own method, False where it cannot be told.
    return (directory for directory in root.glob(f"{PREFIX}*") if os.path.exists(directory / LOCK))
