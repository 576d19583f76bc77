"""The classes of a step, which split keeps beside its images."""

from pathlib import Path
from typing import Any, TypeGuard

from der.core.errors import UserError
from der.core.files import write_json
from der.core.sealed import SealedDirectory

CLASSES = "classes.json"


def write_classes(images: Path, steps: list[list[str]]) -> None:
    """Write the names of the classes up to a step into a directory of its images."""
    write_json(images / CLASSES, {"steps": steps})


def read_task(images: Path, step: int) -> list[list[str]]:
    """Names of the classes up to ``step``, by the step that brought them, from a directory of its images.

    Raises UserError naming the file if it is missing, damaged or something else.
    """
    content = SealedDirectory(images).read_json(CLASSES)
    steps = content.get("steps") if isinstance(content, dict) else None
    if not _are_classes(steps) or len(steps) != step:
        raise UserError(f"{images / CLASSES}: not the classes of {step} steps; run `dvc repro`")
    return steps


def _are_classes(steps: Any) -> TypeGuard[list[list[str]]]:
    return isinstance(steps, list) and all(
        isinstance(step, list) and step and all(isinstance(name, str) for name in step) for step in steps
    )
