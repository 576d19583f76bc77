"""Nested dictionaries to frozen dataclasses, strictly: every fault is one sentence that says where."""

import difflib
import re
import types
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from der.common.errors import UserError

T = TypeVar("T")

# PyYAML reads 5e-4 (no dot) as text, DVC as a number; we side with DVC.
EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def parse(kind: type[T], value: Any, where: str = "") -> T:
    """Build the dataclass ``kind`` from the dictionary ``value``.

    ``where`` is the dotted path put before messages. Raises UserError for an unknown or missing key,
    a wrong type, or a value that the class itself rejects.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where or 'the file'}: {_show(value)}; write keys and values")
    hints = get_type_hints(kind)
    names = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for key in value:
        if key not in names:
            close = difflib.get_close_matches(str(key), names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(names)}"
            raise UserError(f"{_join(where, key)}: unknown key; {hint}")
    for name in names:
        if name not in value:
            raise UserError(f"{_join(where, name)}: missing; add it with {_describe(hints[name])}")
    parsed = {name: _convert(hints[name], value[name], _join(where, name)) for name in names}
    try:
        return kind(**parsed)
    except UserError as error:
        raise UserError(_join(where, str(error))) from None


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return parse(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) in (types.UnionType, Union):
        return _convert_union(hint, value, where)
    if get_origin(hint) is list and isinstance(value, list):
        (inner,) = get_args(hint)
        return [_convert(inner, one, f"{where}[{index}]") for index, one in enumerate(value)]
    if get_origin(hint) is Literal and (type(value), value) in [(type(one), one) for one in get_args(hint)]:
        return value
    if hint is float and isinstance(value, str) and EXPONENT.fullmatch(value):
        return float(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise UserError(f"{where}: {_show(value)}; write {_describe(hint)}")


def _convert_union(hint: Any, value: Any, where: str) -> Any:
    for option in get_args(hint):
        if is_dataclass(option) and isinstance(value, dict):
            return parse(option, value, where)  # type: ignore[arg-type]
        try:
            return _convert(option, value, where)
        except UserError:
            continue
    raise UserError(f"{where}: {_show(value)}; write {_describe(hint)}")


def _show(value: Any) -> str:
    if value is None:
        return "is empty"
    text = repr(value)
    return (text if len(text) <= 60 else text[:57] + "...") + " does not fit"


def _describe(hint: Any) -> str:
    """What to write for a type, in words."""
    if is_dataclass(hint):
        return f"the keys {', '.join(entry.name for entry in fields(hint))}"
    if get_origin(hint) in (types.UnionType, Union):
        return " or ".join(_describe(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(str(option) for option in get_args(hint))
    if get_origin(hint) is list:
        return f"a list ([...]), each entry {_describe(get_args(hint)[0])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text (in quotes)"}
    return words.get(hint, "null")
