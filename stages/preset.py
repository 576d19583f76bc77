"""`python -m stages.preset NAME`: write a preset into params.yaml; without a name, list them."""

import argparse
from dataclasses import replace
from pathlib import Path

import yaml

from der.common.files import whole_file
from der.common.settings import Settings
from der.data.protocol import plan_steps
from stages.chain import write_chain
from stages.common.command import run_stage
from stages.common.paths import CHAIN, PARAMS
from stages.common.unused import chain_length
from stages.presets.edit import check_text, find_changes, put_values, read_params
from stages.presets.library import ORDERS, PRESETS, describe_preset, list_names, load_preset
from stages.presets.lock import stages_to_run

SHIPPED = 11  # steps of chain.yaml
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100}  # of a folder, only split knows


def run(name: str, class_order: str | None = None) -> str:
    """Apply preset ``name``; returns what changed and what `dvc repro` will recompute."""
    old = read_params()
    new = put_values(old, load_preset(name, class_order))
    settings = check_text(new)
    changes = find_changes(old, new)
    length, steps = chain_length(), count_steps(settings)
    # Long enough, and no longer than that and the chain as shipped: every number takes its time.
    wanted_length = min(max(length, steps), max(steps, SHIPPED)) if steps else length
    with whole_file(PARAMS) as partial:
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


def count_steps(settings: Settings) -> int:
    """Steps of the protocol; 0 if only split can tell, from the images."""
    names = [str(number) for number in range(CLASSES.get(settings.dataset.source, 0))]
    return len(plan_steps(names, replace(settings.protocol, class_order="alphabetical"))) if names else 0


def list_presets() -> str:
    """A line for every preset, then the class orders."""
    names = list_names(PRESETS)
    width = max(map(len, names))
    orders = f"\n--class-order, for CIFAR-100: {', '.join(list_names(ORDERS))}"
    return "\n".join(f"{name:{width}}  {describe_preset(name)}" for name in names) + orders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="a preset; without it, all are listed")
    parser.add_argument("--class-order", metavar="ORDER", help="of presets/class_orders, for CIFAR-100")
    arguments = parser.parse_args()
    if arguments.name is None:
        run_stage(list_presets)
    else:
        run_stage(lambda: run(arguments.name, arguments.class_order))


if __name__ == "__main__":
    main()
