"""What split wrote for a step."""

from typing import Any, TypeGuard

from der.common.errors import UserError
from der.common.serialization import read_json
from der.project import paths
from der.project.markers import MARK


def is_unused(step: int) -> bool:
    """Whether the protocol ends before ``step``."""
    return bool(read_json(paths.task(step) / "classes.json") == MARK)


def read_task(step: int) -> list[list[str]]:
    """Names of the classes up to ``step``, by the step that brought them, as split wrote them.

    Raises UserError naming the file if it is missing or something else.
    """
    path = paths.task(step) / "classes.json"
    content = read_json(path)
    steps = content.get("steps") if isinstance(content, dict) else None
    if not _are_classes(steps) or len(steps) != step:
        raise UserError(f"{path}: not the classes of {step} steps; run `dvc repro`")
    return steps


def _are_classes(steps: Any) -> TypeGuard[list[list[str]]]:
    return isinstance(steps, list) and all(
        isinstance(step, list) and step and all(isinstance(name, str) for name in step) for step in steps
    )
