"""dvc.yaml: the stages as DVC's graph has them."""

from functools import cache
from itertools import groupby
from typing import Any

from der.pipeline.paths import GRAPH
from der.pipeline.steps import chain_length
from der.settings.yaml import parse_yaml

OUTPUTS = ("outs", "metrics")  # what dvc.yaml calls that which a stage leaves


def read_stages() -> dict[str, Any]:
    """What dvc.yaml says of every stage, by name; to be read alone."""
    return _parse(GRAPH.read_text(encoding="utf-8"))


@cache  # it takes a twentieth of a second
def _parse(text: str) -> dict[str, Any]:
    stages: dict[str, Any] = parse_yaml(text, GRAPH)["stages"]
    return stages


def read_names(content: dict[str, Any], *kinds: str) -> list[str]:
    """What a stage lists under ``kinds``, "deps" or "outs": paths or keys, without the options of some."""
    entries = [entry for kind in kinds for entry in content.get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def list_stages() -> dict[str, list[str]]:
    """The names of all stages by the name in dvc.yaml, one for every step of the chain."""
    steps = range(1, chain_length() + 1)
    return {
        name: [f"{name}@{step}" for step in steps] if "foreach" in stage else [name]
        for name, stage in read_stages().items()
    }


def stages_of(last: int) -> list[str]:
    """The stages of a protocol of ``last`` steps by their names in DVC's graph, in the order of a run.

    Those that every step has stand side by side in dvc.yaml: all of a step come before all of the next.
    """
    stages: list[str] = []
    for repeated, group in groupby(list_stages().values(), lambda names: "@" in names[0]):
        rows = [names[:last] for names in group]
        stages += [stage for row in (zip(*rows, strict=True) if repeated else rows) for stage in row]
    return stages
