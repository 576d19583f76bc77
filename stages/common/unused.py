"""Numbers of the chain: the steps of the protocol, and those past its last, whose stages leave markers."""

from pathlib import Path
from typing import Any, TypeGuard

import yaml

from der.common.errors import UserError
from der.common.files import read_json, whole_directory, whole_file, write_json
from stages.common import paths

MARK = {"unused": True}


def chain_length() -> int:
    """Number of steps in chain.yaml; raises UserError if it is missing or not as stages.chain writes it."""
    try:
        content = yaml.safe_load(paths.CHAIN.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        content = None
    steps = content.get("steps") if isinstance(content, dict) else None
    # Numbers as text: DVC reads others as no stages at all.
    if not steps or not isinstance(steps, dict) or set(steps) != {str(one + 1) for one in range(len(steps))}:
        raise UserError(
            f"{paths.CHAIN}: missing or damaged; run `python -m stages.chain N`, N the number of steps"
        )
    return len(steps)


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


def mark_unused(stage: str, step: int, *outputs: Path) -> str:
    """Write a marker in place of every output: whole, and the same every time."""
    for output in outputs:
        if output.suffix == ".json":
            write_json(output, MARK)
        elif output.suffix:
            with whole_file(output) as partial:
                partial.write_text("unused\n", encoding="utf-8")
        else:
            with whole_directory(output) as directory:
                write_json(directory / "unused.json", MARK)
    return f"{stage} {step}: not in the protocol, nothing to do"
