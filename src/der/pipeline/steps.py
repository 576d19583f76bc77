"""Reads and writes chain.yaml, the steps over which DVC repeats stages, and the class names of a step."""

from pathlib import Path
from typing import Any

from der.core.errors import UserError
from der.core.files import atomic_file, write_json
from der.core.sealed import SealedDirectory
from der.settings.yaml import parse_yaml

CHAIN = Path("chain.yaml")
CLASSES = "classes.json"  # which split keeps beside a step's images
HEADER = """\
# The numbered steps of dvc.yaml's train_task, build_memory and evaluate: the longest protocol that
# `dvc repro` can run. Written by `der chain`: as long as the protocol in params.yaml, or longer, for a sweep;
# a number past a protocol's last step costs three stages of about a second each, which leave markers.
# DVC reads unquoted numbers as no stages at all.
"""


def chain_length() -> int:
    """Return the number of steps in chain.yaml; raises UserError if it is missing or damaged."""
    try:
        content = parse_yaml(CHAIN.read_text(encoding="utf-8"), CHAIN)
        length = len(content["steps"])
        if length and content == {"steps": _links(length)}:
            return length
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise UserError(f"{CHAIN}: missing or damaged; run `der chain`")


def _links(length: int) -> dict[str, dict[str, Any]]:
    """Make the entries of chain.yaml: each step's predecessor and its section of train."""
    return {
        str(step): {"previous": step - 1, "phase": "base" if step == 1 else "incremental"}
        for step in range(1, length + 1)
    }


def check_chain(steps: int, mend: str | None = None) -> None:
    """Raise UserError, with the command ``mend``, if chain.yaml is damaged or shorter than ``steps``."""
    length = chain_length()
    if steps > length:
        raise UserError(
            f"protocol: {steps} steps, but {CHAIN} holds {length}; run `{mend or f'der chain {steps}'}`"
        )


def write_chain(length: int) -> None:
    """Write chain.yaml for ``length`` steps."""
    lines = [
        f'  "{step}": {{previous: {link["previous"]}, phase: {link["phase"]}}}\n'
        for step, link in _links(length).items()
    ]
    with atomic_file(CHAIN) as partial:
        partial.write_text(HEADER + "steps:\n" + "".join(lines), encoding="utf-8")


def write_classes(images: Path, steps: list[list[str]]) -> None:
    """Write the class names of the steps so far into a directory of a step's images."""
    write_json(images / CLASSES, {"steps": steps})


def read_task(images: Path, step: int) -> list[list[str]]:
    """Read the class names of the steps up to ``step``; raises UserError if the images are another step's."""
    steps: list[list[str]] = SealedDirectory(images).read_json(CLASSES)["steps"]
    if len(steps) != step:
        raise UserError(f"{images / CLASSES}: not the classes of {step} steps; run `dvc repro`")
    return steps
