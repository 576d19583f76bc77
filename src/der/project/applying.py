"""Writing a preset into params.yaml, and what `dvc repro` then runs."""

from pathlib import Path

import yaml

from der.common.atomic import atomic_file
from der.common.errors import UserError
from der.project.chain import chain_length, write_chain
from der.project.editing import check_text, find_changes, put_values, read_params
from der.project.lockfile import stages_to_run
from der.project.paths import CHAIN, PARAMS
from der.project.planning import planned_steps
from der.project.presets import load_preset


def apply_preset(name: str, class_order: str | None = None) -> str:
    """Write preset ``name`` into params.yaml; returns what changed and what `dvc repro` will recompute."""
    old = read_params()
    new = put_values(old, load_preset(name, class_order))
    settings = check_text(new)
    changes = find_changes(old, new)
    length, steps = chain_length(), planned_steps(settings)
    wanted_length = length if steps is None else len(steps)
    with atomic_file(PARAMS) as partial:
        partial.write_text(new, encoding="utf-8")
    lines = [f"preset {name}: {len(changes)} values of {PARAMS} changed", *(f"  {one}" for one in changes)]
    if wanted_length != length:
        write_chain(wanted_length)
        lines.append(f"{CHAIN}: {length} -> {wanted_length} steps")
    if wanted := stages_to_run(yaml.safe_load(new)):
        lines.append(f"`dvc repro` runs {', '.join(wanted)}, and what follows")
    if not Path(settings.dataset.path).exists():
        lines.append(
            f"dataset.path: there is no {settings.dataset.path}, and DVC looks for it whatever the source; "
            "name what exists, data/images for one"
        )
    return "\n".join(lines)


def protocol_length() -> int:
    """Steps of the protocol in params.yaml; raises UserError if only the images can tell."""
    if (steps := planned_steps(check_text(read_params()))) is not None:
        return len(steps)
    raise UserError(
        "protocol: how many steps it has depends on the images; write their number, `der chain N`"
    )
