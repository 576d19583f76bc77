"""Training state of finished steps: kept until the step's outputs are in safe hands.

Whoever started a training may be killed between its end and the moment at which its outputs are taken over,
and then it runs again. So the state is marked with its checkpoint, and removed when the checkpoint is used.
"""

import hashlib
from pathlib import Path

from der.train.resume.locks import remove_unused

FINISHED = "finished"  # a file in a state directory: of which checkpoint


def mark_of(checkpoint: Path) -> str:
    """What tells a checkpoint directory from others: every training ends with other weights."""
    digest = hashlib.sha256()
    for name in ("network.json", "head.safetensors"):
        digest.update((checkpoint / name).read_bytes())
    return digest.hexdigest()


def remove_finished(root: Path, checkpoint: Path) -> None:
    """Remove the training state below ``root`` that led to a checkpoint directory."""
    mark = mark_of(checkpoint)
    for marked in root.glob(f"*/{FINISHED}"):
        if marked.read_text(encoding="utf-8") == mark:
            remove_unused(marked.parent)
