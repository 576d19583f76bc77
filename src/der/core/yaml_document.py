"""YAML as a document: with its comments, quotes and forms of numbers."""

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap


def yaml_editor() -> YAML:
    """Reads and writes YAML with its comments, quotes and forms of numbers."""
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 110
    editor.representer.add_representer(type(None), _represent_null)
    return editor


def _represent_null(representer: Any, value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def is_section(value: Any) -> bool:
    """Whether a value is keys and values below a key; mappings in one line, {...}, are values as a whole."""
    return isinstance(value, CommentedMap) and not value.fa.flow_style()
