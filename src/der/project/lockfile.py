"""What dvc.lock says of the last `dvc repro`: which stages ran, and with which parameters."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from der.common.yaml_text import parse_yaml
from der.project.changes import Change, compare, value_at
from der.project.graph import list_stages
from der.project.paths import PARAMS

LOCK = Path("dvc.lock")

Ran = dict[str, dict[str, Any]]  # stage -> dotted path -> value it ran with


def read_lock() -> Ran:
    """The parameters that every stage of the graph last ran with; empty where DVC has run nothing yet."""
    if not LOCK.exists():
        return {}
    stages = parse_yaml(LOCK.read_text(encoding="utf-8"), LOCK)["stages"]
    return {  # a chain that was longer leaves its last steps in the lock
        name: stages[name].get("params", {}).get(str(PARAMS), {})
        for names in list_stages().values()
        for name in names
        if name in stages
    }


def changes_since(ran: Ran, stage: str, parameters: Any) -> Iterator[Change]:
    """Where ``parameters``, all of params.yaml, differ from those that ``stage`` ran with."""
    for key, value in ran[stage].items():
        yield from compare(value, value_at(parameters, key), key)


def stages_to_run(parameters: Any) -> list[str]:
    """The stages that never ran, or with other parameters, as "split" or "train_task@2 to @11"."""
    ran = read_lock()
    wanted = []
    for names in list_stages().values():
        for waiting, row in groupby(
            names, lambda name: name not in ran or any(changes_since(ran, name, parameters))
        ):
            first, *others = row
            if waiting:
                wanted.append(first + (f" to @{others[-1].partition('@')[2]}" if others else ""))
    return wanted
