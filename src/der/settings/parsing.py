"""Builds sections from nested dictionaries; msgspec checks them, and every error is one sentence."""

import difflib
import re
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from der.core.errors import UserError
from der.settings.sections import Section

T = TypeVar("T", bound=Section)

PLACE = re.compile(r" - at `(?:key` in `)?\$(.*)`\Z")  # the path at the end of msgspec's messages
STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
BOUNDS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "at most"}
NUMBERS = {inspect.IntType: (int,), inspect.FloatType: (int, float)}
WORDS = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.StrType: "text (in quotes)",
}
SHOWN = 60  # characters of a value


def parse(kind: type[T], value: Any, where: str = "") -> T:
    """Build a section from a dictionary; raises UserError, ``where`` first, for what does not fit."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UserError(_explain(error, kind, value, where)) from None


def require_keys(section: Section, values: dict[str, Any], where: str = "") -> None:
    """Raise UserError for a key that ``values`` lack and ``section``, made of them, has by default."""
    for name in section.__struct_fields__:
        place, value = _join(where, name), getattr(section, name)
        if name not in values:
            raise UserError(f"{place}: missing; add it with {'null' if value is None else value}")
        if isinstance(value, Section):
            require_keys(value, values[name], place)


def _explain(error: msgspec.ValidationError, kind: Any, value: Any, where: str) -> str:
    """Write our sentence for an error of msgspec about the whole ``value``, of the section ``kind``."""
    options = _options(inspect.type_info(kind))
    place = PLACE.search(str(error))
    for name, index in STEP.findall(place[1] if place else ""):
        options = _fields(options)[name] if name else _entries(options)
        value = value[name or int(index)]
        where = _join(where, name) if name else f"{where}[{index}]"
    if isinstance(error.__cause__, UserError):
        return _join(where, str(error.__cause__))
    if isinstance(value, dict) and (fields := _fields(options)):
        return _explain_keys(fields, value, where)
    if type(value) in NUMBERS.get(type(options[0]), ()) and (bounds := _bounds(options[0])):
        name = where.partition("[")[0]  # the bounds are those of every entry of a list
        return f"{name}: {_shorten(value)} is out of range; write a number {bounds}"
    found = "is empty" if value is None else f"{_shorten(value)} does not fit"
    return f"{where or 'the file'}: {found}; write {_describe(options)}"


def _explain_keys(fields: dict[str, list[inspect.Type]], value: dict[Any, Any], where: str) -> str:
    for key in value:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(fields)}"
            is_plain = isinstance(key, str) and key.isprintable() and len(key) <= SHOWN
            return f"{_join(where, key if is_plain else _shorten(key))}: unknown key; {hint}"
    missing = next(name for name in fields if name not in value)
    return f"{_join(where, missing)}: missing; add it with {_describe(fields[missing])}"


def _options(declared: inspect.Type) -> list[inspect.Type]:
    """The plain types that a declared one admits."""
    if isinstance(declared, inspect.Metadata):
        return _options(declared.type)
    if isinstance(declared, inspect.UnionType):
        return [option for one in declared.types for option in _options(one)]
    return [declared]


def _fields(options: list[inspect.Type]) -> dict[str, list[inspect.Type]]:
    """The keys of a section, each with the types that it admits; none for what is no section."""
    structs = [one for one in options if isinstance(one, inspect.StructType)]
    return {field.name: _options(field.type) for one in structs for field in one.fields}


def _entries(options: list[inspect.Type]) -> list[inspect.Type]:
    """The types that the entries of a list admit."""
    return next(_options(one.item_type) for one in options if isinstance(one, inspect.ListType))


def _bounds(option: inspect.Type) -> str:
    """The bounds of a number in words; empty if there are none."""
    bounds = ((words, getattr(option, name)) for name, words in BOUNDS.items())
    return " and ".join(f"{words} {bound}" for words, bound in bounds if bound is not None)


def _describe(options: list[inspect.Type]) -> str:
    """What to write for one of these types, in words."""
    return " or ".join(_describe_one(one) for one in options)


def _describe_one(option: inspect.Type) -> str:
    if isinstance(option, inspect.StructType):
        return f"the keys {', '.join(_fields([option]))}"
    if isinstance(option, inspect.LiteralType):
        return " or ".join(map(str, option.values))
    if isinstance(option, inspect.ListType):
        return f"a list ([...]), each entry {_describe(_entries([option]))}"
    return WORDS.get(type(option), "null")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
