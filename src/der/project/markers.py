"""Numbers of the chain: the steps of the protocol, and those past its last, whose stages leave markers."""

from pathlib import Path

from der.common.atomic import atomic_directory, atomic_file
from der.common.serialization import write_json

MARK = {"unused": True}


def mark_unused(stage: str, step: int, *outputs: Path) -> str:
    """Write a marker in place of every output: whole, and the same every time."""
    for output in outputs:
        if output.suffix == ".json":
            write_json(output, MARK)
        elif output.suffix:
            with atomic_file(output) as partial:
                partial.write_text("unused\n", encoding="utf-8")
        else:
            with atomic_directory(output) as directory:
                write_json(directory / "unused.json", MARK)
    return f"{stage} {step}: not in the protocol, nothing to do"
