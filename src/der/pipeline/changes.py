"""Differences between nested values, as of params.yaml, in lines of text."""

from collections.abc import Iterator
from io import StringIO
from typing import Any, NamedTuple

from ruamel.yaml import YAML

FIRST = 3  # entries of a long list
SHOWN, SHOWN_INSIDE = 60, 30  # characters of a value, and of each in a list


class Change(NamedTuple):
    """A value of params.yaml, before and after."""

    key: str  # dotted path
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {shorten(self.old)} -> {shorten(self.new)}"


def compare(old: Any, new: Any, key: str = "") -> Iterator[Change]:
    """Every value that differs between two nested dictionaries; ``key`` is the path to them."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from compare(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new:
        yield Change(key, old, new)


def value_at(content: Any, key: str) -> Any:
    """The value at a dotted path of nested dictionaries; None if there is none."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    return content


def shorten(value: Any, longest: int = SHOWN) -> str:
    """A value as YAML in one line; long lists, and those in them, by their first entries and their length."""
    if not isinstance(value, list) or len(one_line(value)) <= longest:
        return one_line(value)
    entries = [
        shorten(one, SHOWN_INSIDE) if isinstance(one, list) else one_line([one])[1:-1]
        for one in value[:FIRST]
    ]
    return f"[{', '.join(entries)}{f', ... {len(value)} in all' if len(value) > FIRST else ''}]"


def one_line(value: Any) -> str:
    """A value as YAML in one line."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = True
    writer.width = 2**31  # no line is longer
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")
