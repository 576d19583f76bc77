"""params.yaml, checked as a whole before any work."""

import re
import reprlib
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from der.common.errors import UserError
from der.project.paths import PARAMS
from der.settings.experiment import Settings
from der.settings.parsing import parse

# Octal and sexagesimal in YAML 1.1, which PyYAML reads; not in 1.2, which DVC reads.
TWO_READINGS = re.compile(r"[+-]?0[0-7_]+|.*:.*")


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check all of params.yaml; raises UserError with one sentence that says where and what."""
    return parse_settings(read_text(path), path)


def read_text(path: Path) -> str:
    """The text of params.yaml; raises UserError if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run from the repository's root") from None
    except UnicodeError:
        raise UserError(f"{path}: not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); put the file there") from None


def parse_settings(text: str, path: Path) -> Settings:
    """The settings in the text of params.yaml; raises UserError, ``path`` first, for whatever is wrong."""
    content = parse_yaml(text, path)
    try:
        return parse(Settings, content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def parse_yaml(text: str, path: Path) -> Any:
    """The values in the text of params.yaml; raises UserError, ``path`` first, where DVC may find others."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise UserError(f"{path}: not valid YAML (nested too deeply)") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's, with YAMLError for every fault, and for what DVC refuses or reads as another number."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # type: ignore[no-untyped-call]
        keys = [key.value for key, _ in node.value]
        for number, (key, _) in enumerate(node.value):
            if key.value in keys[:number]:
                raise _fault(key, "stands twice; remove one")
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.rpartition(":")[2]
        number = isinstance(node, yaml.ScalarNode) and kind in ("int", "float")
        if number and TWO_READINGS.fullmatch(node.value):
            raise _fault(node, "is another number to DVC; write it without leading zeros or ':'")
        try:
            return super().construct_object(node, deep)  # type: ignore[no-untyped-call]
        except (ValueError, LookupError, AttributeError, TypeError):
            raise _fault(node, f"is no {kind}; correct it or put it in quotes") from None


def _fault(node: yaml.Node, what: str) -> ConstructorError:
    return ConstructorError(problem=f"line {node.start_mark.line + 1}: {reprlib.repr(node.value)} {what}")
