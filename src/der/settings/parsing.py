"""Nested dictionaries to sections, strictly: msgspec checks, every fault is one sentence that says where."""

import difflib
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from der.core.errors import UserError
from der.settings.section import Section

T = TypeVar("T", bound=Section)

PLACE = re.compile(r" - at `(?:key` in `)?\$(.*)`\Z")  # the path at the end of msgspec's messages
STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
SHOWN = 60  # characters of a value


def parse(kind: type[T], value: Any, where: str = "") -> T:
    """Build the section ``kind`` from the dictionary ``value``.

    ``where`` is the dotted path put before messages. Raises UserError for an unknown or missing key,
    a wrong type, a number out of its bounds, or a value that the class itself rejects.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UserError(_explain(error, kind, value, where)) from None


def require_keys(kind: Any, value: dict[str, Any], where: str = "") -> None:
    """Raise UserError for a key that ``value``, which is a section ``kind``, leaves to its default.

    Defaults are for records that were kept before there was such a key.
    """
    for name, hint in _hints(kind).items():
        if name not in value:
            raise UserError(_describe_missing(hint, _join(where, name)))
        for section in filter(_is_section, _options(hint)):
            if value[name] is not None:
                require_keys(section, value[name], _join(where, name))


def _explain(error: msgspec.ValidationError, hint: Any, value: Any, where: str) -> str:
    """Our sentence for msgspec's; ``hint`` and ``value`` are of the whole that it checked."""
    place = PLACE.search(str(error))
    for name, index in STEP.findall(place[1] if place else ""):
        hint = _inside(hint, name)
        value = value[name or int(index)]
        where = _join(where, name) if name else f"{where}[{index}]"
    if isinstance(error.__cause__, UserError):
        return _join(where, str(error.__cause__))
    sections = [one for one in _options(hint) if _is_section(one)]
    if sections and isinstance(value, dict):
        return _explain_keys(sections[0], value, where)
    if bounds := _words(hint, value):
        name = where.partition("[")[0]  # the bounds are those of every entry of a list
        return f"{name}: {_shorten(value)} is out of range; write a number {bounds}"
    wanted = "keys and values" if _options(hint) == sections else _describe(hint)
    return f"{where or 'the file'}: {_show(value)}; write {wanted}"


def _inside(hint: Any, name: str) -> Any:
    """The declared type of the key ``name`` of a section, or of the entries of a list."""
    if name:
        return next(_hints(one)[name] for one in _options(hint) if _is_section(one))
    return next(get_args(one)[0] for one in _options(hint) if get_origin(one) is list)


def _explain_keys(kind: Any, value: dict[Any, Any], where: str) -> str:
    hints = _hints(kind)
    for key in value:
        if key not in hints:
            close = difflib.get_close_matches(str(key), hints, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(hints)}"
            return f"{_join(where, _name(key))}: unknown key; {hint}"
    missing = next(name for name in hints if name not in value)
    return _describe_missing(hints[missing], _join(where, missing))


def _describe_missing(hint: Any, where: str) -> str:
    return f"{where}: missing; add it with {_describe(hint)}"


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _name(key: Any) -> str:
    return key if isinstance(key, str) and key.isprintable() and len(key) <= SHOWN else _shorten(key)


def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _options(hint: Any) -> list[Any]:
    """The plain types that a declared one admits."""
    if get_origin(hint) is Annotated:
        return _options(get_args(hint)[0])
    if get_origin(hint) in (types.UnionType, Union):
        return [option for one in get_args(hint) for option in _options(one)]
    return [hint]


def _words(hint: Any, value: Any) -> str:
    """The bounds of a number in words; empty if ``value`` is of another type, or there are none."""
    kinds = {int: (int,), float: (int, float)}.get(_options(hint)[0], ())
    return " and ".join(_bounds(hint)) if type(value) in kinds else ""


def _bounds(hint: Any) -> Iterator[str]:
    for name, words in (("gt", "above"), ("ge", "of at least"), ("lt", "below"), ("le", "at most")):
        for meta in _metas(hint):
            if (bound := getattr(meta, name)) is not None:
                yield f"{words} {bound}"


def _metas(hint: Any) -> Iterator[Any]:
    """What is said of a declared type, and of the plain types that it admits."""
    yield from getattr(hint, "__metadata__", ())
    if get_origin(hint) in (Annotated, types.UnionType, Union):
        inside = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
        yield from (meta for one in inside for meta in _metas(one))


def _show(value: Any) -> str:
    return "is empty" if value is None else f"{_shorten(value)} does not fit"


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _describe(hint: Any) -> str:
    """What to write for a type, in words."""
    return " or ".join(_describe_one(option) for option in _options(hint))


def _describe_one(hint: Any) -> str:
    if _is_section(hint):
        return f"the keys {', '.join(_hints(hint))}"
    if get_origin(hint) is Literal:
        return " or ".join(str(option) for option in get_args(hint))
    if get_origin(hint) is list:
        return f"a list ([...]), each entry {_describe(get_args(hint)[0])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text (in quotes)"}
    return words.get(hint, "null")
