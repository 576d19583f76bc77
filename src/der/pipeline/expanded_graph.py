"""dvc.yaml with every step of the chain in its place."""

from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

from der.pipeline.graph import OUTPUTS, read_names, read_stages
from der.pipeline.steps import chain_links


class Node(NamedTuple):
    """One stage: keys of params.yaml, and paths from the repository's root."""

    params: list[str]
    deps: list[str]
    outs: list[str]


def expand_graph() -> dict[str, Node]:
    """All stages by their names in DVC's graph, each after those that it depends on."""
    nodes = dict(_expand())
    ahead = {
        name: {one for dep in node.deps for one in producers(dep, nodes)} for name, node in nodes.items()
    }
    return {name: nodes[name] for name in TopologicalSorter(ahead).static_order()}


def producers(path: str, nodes: dict[str, Node]) -> list[str]:
    """The stages that leave ``path``, what it lies in, or what lies in it."""
    return [name for name, node in nodes.items() if any(_overlap(path, out) for out in node.outs)]


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _expand() -> Iterator[tuple[str, Node]]:
    for name, content in read_stages().items():
        if "foreach" not in content:
            yield name, _read(content, {})
            continue
        for key, link in chain_links().items():
            values = {"${key}": key} | {f"${{item.{item}}}": str(value) for item, value in link.items()}
            yield f"{name}@{key}", _read(content["do"], values)


def _read(content: dict[str, Any], values: dict[str, str]) -> Node:
    def fill(text: str) -> str:
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    kinds = (("params",), ("deps",), OUTPUTS)
    return Node(*([fill(one) for one in read_names(content, *names)] for names in kinds))
