"""Training state of finished steps: kept until DVC has taken the step's outputs over.

A dvc that is killed between the end of train_task and the line in dvc.lock runs it again. So train_task
marks its state with its outputs, and build_memory, which runs when they are in dvc.lock, removes it.
"""

import hashlib
import os
from pathlib import Path

from der.locks import remove_unused
from stages.common import paths

FINISHED = "finished"  # a file in a scratch directory: of which checkpoint


def scratch_root() -> Path:
    """DER_SCRATCH, or a directory in the user's cache; the same for all copies of the repository."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("DER_SCRATCH") or f"{cache}/der/scratch").expanduser().absolute()


def mark_of(step: int) -> str:
    """What tells the checkpoint of a step from others: every training ends with other weights."""
    digest = hashlib.sha256()
    for name in ("network.json", "head.safetensors"):
        digest.update((paths.checkpoint(step) / name).read_bytes())
    return digest.hexdigest()


def remove_finished(step: int) -> None:
    """Remove the training state that led to the checkpoint of a step."""
    mark = mark_of(step)
    for marked in scratch_root().glob(f"*/{FINISHED}"):
        if marked.read_text(encoding="utf-8") == mark:
            remove_unused(marked.parent)
