"""The chain's steps past the protocol's last, whose stages leave markers."""

from pathlib import Path

from der.core.files import write_json
from der.core.sealed import SealedDirectory, sealed_directory

MARKER = "unused.json"  # the only file of an output of such a step


def mark_unused(stage: str, step: int, *outputs: Path) -> str:
    """Make a marker of every output: whole, and the same every time."""
    for output in outputs:
        with sealed_directory(output) as directory:
            write_json(directory / MARKER, {"unused": True})
    return f"{stage} {step}: not in the protocol, nothing to do"


def is_unused(output: Path) -> bool:
    """Whether an output is a marker; raises DamageError if it is neither that nor whole."""
    return MARKER in SealedDirectory(output).digests
