"""Which stages track a parameter, read from dvc.yaml and chain.yaml."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from stages.common.paths import CHAIN

GRAPH = Path("dvc.yaml")


def reached_stages(parameters: Iterable[str]) -> list[str]:
    """The stages that track any of ``parameters`` (dotted paths), as "split" or "train_task@2 to @11"."""
    parameters = list(parameters)
    steps = yaml.safe_load(CHAIN.read_text(encoding="utf-8"))["steps"]
    reached = []
    for name, stage in yaml.safe_load(GRAPH.read_text(encoding="utf-8"))["stages"].items():
        if "foreach" not in stage:
            if _tracks(stage, parameters, ""):
                reached.append(name)
            continue
        numbers = [
            number for number, item in steps.items() if _tracks(stage["do"], parameters, item["phase"])
        ]
        if numbers:
            reached.append(f"{name}@{numbers[0]}" + (f" to @{numbers[-1]}" if len(numbers) > 1 else ""))
    return reached


def _tracks(stage: dict[str, Any], parameters: list[str], phase: str) -> bool:
    tracked = [one.replace("${item.phase}", phase) for one in stage.get("params", [])]
    return any(_overlap(one, parameter) for one in tracked for parameter in parameters)


def _overlap(left: str, right: str) -> bool:
    """Whether one of two dotted paths lies in the other."""
    return f"{left}.".startswith(f"{right}.") or f"{right}.".startswith(f"{left}.")
