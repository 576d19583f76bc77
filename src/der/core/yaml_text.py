"""YAML as DVC reads it: by ruamel.yaml, version 1.2; every fault is one sentence."""

import reprlib
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import Node, ScalarNode

from der.core.errors import UserError

DEEPEST = 50  # levels; Python's stack holds more


def parse_yaml(text: str, path: Path) -> Any:
    """The values in ``text``; raises UserError, ``path`` first, for what is no tree of plain values."""
    return _load(_read_plain, text, path)


def parse_written(text: str, path: Path) -> Any:
    """The values in ``text`` that DVC has written, read as it does: in C where there is ruamel.yaml.clib.

    Raises UserError, ``path`` first, for what is no YAML. On files of a hundred stages it takes a tenth of
    the time of ``parse_yaml``, which is for what people write.
    """
    return _load(_read_written, text, path)


def _load(read: Callable[[str], Any], text: str, path: Path) -> Any:
    try:
        return deepcopy(read(text))
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({_describe(error)})") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML (nested too deep)") from None


# The same files are asked for by several: reading takes ten times as long as a copy of what was read.
@lru_cache(maxsize=8)
def _read_plain(text: str) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.Composer, reader.Constructor = _Composer, _Constructor
    return reader.load(text)


@lru_cache(maxsize=8)
def _read_written(text: str) -> Any:
    return YAML(typ="safe").load(text)


class _Composer(Composer):
    """ruamel's, without what stands for something else: a few lines of aliases can fill the memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent) or event.anchor is not None:
            raise _fault(event, f"{event.anchor!r} is an anchor or alias; write the value itself")
        if self.depth == DEEPEST:
            raise _fault(event, f"nested more than {DEEPEST} levels deep; write it flatter")
        if event.tag is not None:
            raise _fault(event, f"{str(event.tag)!r} is a tag; write the value without it")
        if getattr(event, "value", None) == "<<" and event.style is None:
            raise _fault(event, "<< merges keys; write them out")
        return super().compose_node(parent, index)


class _Constructor(SafeConstructor):
    """ruamel's, with YAMLError for every fault."""

    def check_mapping_key(self, node: Any, key_node: Any, mapping: Any, key: Any, value: Any) -> bool:
        if key in mapping:
            raise _fault(key_node, f"{reprlib.repr(key)} stands twice; remove one")
        return True

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        if not isinstance(node, ScalarNode):
            return super().construct_object(node, deep)
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError):
            kind = str(node.tag).rpartition(":")[2]
            value = reprlib.repr(node.value)
            raise _fault(node, f"{value} is no {kind}; correct it or put it in quotes") from None


def _fault(place: Any, what: str) -> MarkedYAMLError:
    return MarkedYAMLError(problem=f"line {place.start_mark.line + 1}: {what}")


def _describe(error: YAMLError) -> str:
    """One line: what is wrong, and where; not the advice of ruamel, which is for programmers."""
    if not isinstance(error, MarkedYAMLError):
        return " ".join(str(error).split())
    if error.problem_mark is None:
        return str(error.problem)
    return f"line {error.problem_mark.line + 1}: {' '.join(error.problem.split())}"
