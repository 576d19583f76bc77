"""Writing a preset into params.yaml, and what `dvc repro` then runs."""

from dataclasses import replace
from pathlib import Path

import yaml

from der.common.atomic import atomic_file
from der.common.errors import UserError
from der.data.protocol import plan_steps
from der.project.chain import chain_length, write_chain
from der.project.editing import check_text, find_changes, put_values, read_params
from der.project.lockfile import stages_to_run
from der.project.paths import CHAIN, PARAMS
from der.project.presets import load_preset
from der.settings.experiment import Settings

SHIPPED = 11  # steps of chain.yaml
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100}  # of a folder, only split knows


def apply_preset(name: str, class_order: str | None = None) -> str:
    """Write preset ``name`` into params.yaml; returns what changed and what `dvc repro` will recompute."""
    old = read_params()
    new = put_values(old, load_preset(name, class_order))
    settings = check_text(new)
    changes = find_changes(old, new)
    length, steps = chain_length(), count_steps(settings)
    # Long enough, and no longer than that and the chain as shipped: every number takes its time.
    wanted_length = min(max(length, steps), max(steps, SHIPPED)) if steps else length
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
    if steps := count_steps(check_text(read_params())):
        return steps
    raise UserError(
        "protocol: how many steps it has depends on the images; write their number, `der chain N`"
    )


def count_steps(settings: Settings) -> int:
    """Steps of the protocol; 0 if only split can tell, from the images."""
    names = [str(number) for number in range(CLASSES.get(settings.dataset.source, 0))]
    return len(plan_steps(names, replace(settings.protocol, class_order="alphabetical"))) if names else 0
