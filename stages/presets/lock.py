"""What dvc.lock says of the last `dvc repro`: which stages ran, and with which parameters."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from stages.common.paths import CHAIN, PARAMS
from stages.presets.edit import Change, compare, look_up

GRAPH = Path("dvc.yaml")
LOCK = Path("dvc.lock")

Ran = dict[str, dict[str, Any]]  # stage -> dotted path -> value it ran with


def read_lock() -> Ran:
    """The parameters that every stage last ran with; empty where DVC has run nothing yet."""
    if not LOCK.exists():
        return {}
    stages = yaml.safe_load(LOCK.read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("params", {}).get(str(PARAMS), {}) for name, stage in stages.items()}


def changes_since(ran: Ran, stage: str, parameters: Any) -> Iterator[Change]:
    """Where ``parameters``, all of params.yaml, differ from those that ``stage`` ran with."""
    for key, value in ran[stage].items():
        yield from compare(value, look_up(parameters, key), key)


def stages_to_run(parameters: Any) -> list[str]:
    """The stages that never ran, or with other parameters, as "split" or "train_task@2 to @11"."""
    ran = read_lock()
    wanted = []
    steps = [int(number) for number in yaml.safe_load(CHAIN.read_text(encoding="utf-8"))["steps"]]
    for name, stage in yaml.safe_load(GRAPH.read_text(encoding="utf-8"))["stages"].items():
        if "foreach" not in stage:
            if _must_run(ran, name, parameters):
                wanted.append(name)
            continue
        numbers = [step for step in steps if _must_run(ran, f"{name}@{step}", parameters)]
        # Neighbours have the same distance from their places in the list.
        for _, row in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
            first, *others = (number for _, number in row)
            wanted.append(f"{name}@{first}" + (f" to @{others[-1]}" if others else ""))
    return wanted


def _must_run(ran: Ran, stage: str, parameters: Any) -> bool:
    return stage not in ran or any(changes_since(ran, stage, parameters))
