"""The text of params.yaml with a preset's values, and what that changes."""

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any, NamedTuple

import yaml
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from der.common.errors import UserError
from der.project.params import parse_settings, parse_yaml, read_text
from der.project.paths import PARAMS
from der.project.presets import overlay, yaml_editor
from der.settings.experiment import Settings

COMMENT_COLUMN = 27  # at which params.yaml's comments begin, or after the value if that is longer
SHOWN = 60  # characters of a value


class Change(NamedTuple):
    """A value of params.yaml, before and after."""

    key: str  # dotted path
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {shorten(self.old)} -> {shorten(self.new)}"


def read_params() -> str:
    """The text of params.yaml; raises UserError if there is none."""
    return read_text(PARAMS)


def put_values(text: str, values: Any) -> str:
    """The text of params.yaml with ``values`` in it, comments kept; the same whatever values it had.

    Raises UserError if ``text`` is no YAML.
    """
    parse_yaml(text, PARAMS)  # ruamel has no one error for all that can be wrong
    editor = yaml_editor()
    editor.representer.add_representer(type(None), _represent_null)
    try:
        content = editor.load(text)
    except YAMLError as error:
        raise UserError(f"{PARAMS}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, CommentedMap):
        raise UserError(f"{PARAMS}: holds no keys and values; restore it with `git checkout {PARAMS}`")
    _align_comments(overlay(content, values))
    stream = StringIO()
    editor.dump(content, stream)
    return re.sub(r" +$", "", stream.getvalue(), flags=re.MULTILINE)


def _represent_null(representer: Any, value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _align_comments(content: Any) -> None:
    # Otherwise a comment stays where an earlier, longer value had moved it.
    if not isinstance(content, CommentedMap):
        return
    for tokens in content.ca.items.values():
        if tokens[2] is not None:
            tokens[2].column = COMMENT_COLUMN
    for value in content.values():
        _align_comments(value)


def check_text(text: str) -> Settings:
    """The settings in the text of params.yaml; raises UserError as the stages do."""
    return parse_settings(text, PARAMS)


def find_changes(old: str, new: str) -> list[Change]:
    """Every value that differs between two texts of params.yaml."""
    return list(compare(yaml.safe_load(old), yaml.safe_load(new)))


def compare(old: Any, new: Any, key: str = "") -> Iterator[Change]:
    """Every value that differs between two nested dictionaries; ``key`` is the path to them."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from compare(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new:
        yield Change(key, old, new)


def look_up(content: Any, key: str) -> Any:
    """The value at a dotted path of nested dictionaries; None if there is none."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    return content


def shorten(value: Any) -> str:
    """A value as YAML in one line; long lists by their first entries and their length."""
    if isinstance(value, list) and len(one_line(value)) > SHOWN:
        return f"{one_line(value[:3])[:-1]}, ... {len(value)} in all]"
    return one_line(value)


def one_line(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
