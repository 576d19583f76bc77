"""chain.yaml: the numbered steps over which DVC repeats train_task, build_memory and evaluate."""

from typing import Any

from der.core.errors import UserError
from der.core.files import atomic_file
from der.core.yaml_text import parse_yaml
from der.pipeline import paths

HEADER = """\
# The numbered steps of dvc.yaml's train_task, build_memory and evaluate: the longest protocol that
# `dvc repro` can run. Written by `der chain`: as long as the protocol in params.yaml, or longer, for a sweep;
# a number past a protocol's last step costs three stages of about a second each, which leave markers.
# DVC reads unquoted numbers as no stages at all.
"""


def chain_length() -> int:
    """Number of steps in chain.yaml; raises UserError if it is missing or damaged."""
    try:
        content = parse_yaml(paths.CHAIN.read_text(encoding="utf-8"), paths.CHAIN)
    except (OSError, ValueError, UserError):
        content = None
    steps = content.get("steps") if isinstance(content, dict) else None
    # Numbers as text: DVC reads others as no stages at all. Of what equals them, 1.0 and true, it makes names
    # of other files, and of other keys values beside params.yaml's.
    if not steps or not isinstance(steps, dict) or _spell(content) != _spell({"steps": _links(len(steps))}):
        raise UserError(f"{paths.CHAIN}: missing or damaged; run `der chain`")
    return len(steps)


def chain_links() -> dict[str, dict[str, Any]]:
    """What chain.yaml tells DVC of every step; raises UserError as ``chain_length``."""
    return _links(chain_length())


def _links(length: int) -> dict[str, dict[str, Any]]:
    """What DVC is told of every step: the one before it, and which section of train is for it."""
    return {
        str(step): {"previous": step - 1, "phase": "base" if step == 1 else "incremental"}
        for step in range(1, length + 1)
    }


def _spell(content: dict[Any, Any]) -> dict[Any, Any]:
    """Values as text, which tells those of other types apart; keys in any order."""
    return {key: _spell(value) if isinstance(value, dict) else repr(value) for key, value in content.items()}


def check_chain(steps: int, mend: str | None = None) -> None:
    """Raise UserError if a protocol of ``steps`` steps is longer than chain.yaml, or that is damaged.

    ``mend`` is the command that makes it longer, if not `der chain`.
    """
    length = chain_length()
    if steps > length:
        raise UserError(
            f"protocol: {steps} steps, but {paths.CHAIN} holds {length}; run `{mend or f'der chain {steps}'}`"
        )


def write_chain(length: int) -> None:
    """Write chain.yaml for ``length`` steps."""
    lines = [
        f'  "{step}": {{previous: {link["previous"]}, phase: {link["phase"]}}}\n'
        for step, link in _links(length).items()
    ]
    with atomic_file(paths.CHAIN) as partial:
        partial.write_text(HEADER + "steps:\n" + "".join(lines), encoding="utf-8")
