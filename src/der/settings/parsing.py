"""Reads and edits YAML as DVC does, and builds sections from it; every error is one sentence."""

import difflib
import re
from copy import deepcopy
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from der.core.errors import UserError
from der.settings.sections import Section

WIDTH = 110  # of a line that a long list is broken into
PLAIN = re.compile(r"[\w~/.]([\w ~/.+-]*[\w~/.+-])?")  # texts that need no quotes, or get them from ruamel


def read_text(path: Path, advice: str) -> str:
    """Read a text file; raises UserError, which ends in ``advice``, if that fails."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeError:
        raise UserError(f"{path}: not UTF-8; save it in that encoding") from None
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {advice}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {advice}") from None


def parse_yaml(text: str, path: Path) -> Any:
    """Parse YAML; raises UserError, which begins with ``path``, if ``text`` is not valid."""
    try:
        return deepcopy(_parse(text))
    except (YAMLError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:  # without ruamel's advice
            reason = f"line {error.problem_mark.line + 1}: {' '.join(str(error.problem).split())}"
        raise UserError(f"{path}: not valid YAML ({reason})") from None


# Several callers read the same files: parsing takes ten times as long as copying the result.
@lru_cache(maxsize=8)
def _parse(text: str) -> Any:
    return YAML(typ="safe").load(text)


def load_document(text: str) -> Any:
    """Parse valid YAML and keep its comments, quotes and forms of numbers."""
    return _editor().load(text)


def put_values(text: str, values: Any) -> str:
    """Set ``values`` in valid YAML of keys and values, new lists in brackets, and keep its comments."""
    document = load_document(text)
    overlay(document, values)
    stream = StringIO()
    _editor().dump(document, stream)
    return re.sub(r" +$", "", stream.getvalue(), flags=re.MULTILINE)  # ruamel's, where it breaks a list


def overlay(target: Any, values: Any) -> Any:
    """Set every value of ``values`` in ``target``; a mapping in brackets, {...}, is replaced as a whole."""
    for key, value in values.items():
        inner = target.get(key)
        in_brackets = isinstance(value, CommentedMap) and value.fa.flow_style()
        if isinstance(value, dict) and isinstance(inner, dict) and not in_brackets:
            overlay(inner, value)
        elif key not in target or inner != value:
            target[key] = _in_brackets(value) if isinstance(target, CommentedMap) else value
    return target


def _in_brackets(value: Any) -> Any:
    """Copy a value; its lists and mappings will be written in brackets."""
    if isinstance(value, dict):
        copy: Any = CommentedMap((_quoted(key), _quoted(_in_brackets(one))) for key, one in value.items())
    elif isinstance(value, list):
        copy = CommentedSeq(_quoted(_in_brackets(one)) for one in value)
    else:
        return value
    copy.fa.set_flow_style()
    return copy


def _quoted(value: Any) -> Any:
    """Quote a text if needed: ruamel writes "a:b" without quotes, which DVC then cannot read."""
    return DoubleQuotedScalarString(value) if type(value) is str and not PLAIN.fullmatch(value) else value


def _editor() -> YAML:
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = WIDTH
    null = ("tag:yaml.org,2002:null", "null")
    editor.representer.add_representer(type(None), lambda representer, _: representer.represent_scalar(*null))
    return editor


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
    """Build a section from a dictionary; raises UserError, ``where`` first, for invalid values."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UserError(_explain(error, kind, value, where)) from None


def list_missing(whole: dict[str, Any], values: dict[str, Any], where: str = "") -> list[str]:
    """List the keys of ``whole``, with dots, that ``values`` lack."""
    missing = []
    for name, value in whole.items():
        if name not in values:
            missing.append(_join(where, name))
        elif isinstance(value, dict):
            missing += list_missing(value, values[name], _join(where, name))
    return missing


def _explain(error: msgspec.ValidationError, kind: Any, value: Any, where: str) -> str:
    """Replace an error of msgspec about ``value``, of the section ``kind``, by our sentence."""
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
    bounds = [
        f"{words} {at}"
        for name, words in BOUNDS.items()
        if (at := getattr(options[0], name, None)) is not None
    ]
    if bounds and type(value) in NUMBERS.get(type(options[0]), ()):
        name = where.partition("[")[0]  # the bounds are those of every entry of a list
        return f"{name}: {_shorten(value)} is out of range; write a number {' and '.join(bounds)}"
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
    if isinstance(declared, inspect.Metadata):
        return _options(declared.type)
    if isinstance(declared, inspect.UnionType):
        return [option for one in declared.types for option in _options(one)]
    return [declared]


def _fields(options: list[inspect.Type]) -> dict[str, list[inspect.Type]]:
    """List the keys of a section, each with its types; empty for other types."""
    structs = [one for one in options if isinstance(one, inspect.StructType)]
    return {field.name: _options(field.type) for one in structs for field in one.fields}


def _entries(options: list[inspect.Type]) -> list[inspect.Type]:
    return next(_options(one.item_type) for one in options if isinstance(one, inspect.ListType))


def _describe(options: list[inspect.Type]) -> str:
    if len(options) > 1:
        return " or ".join(_describe([one]) for one in options)
    option = options[0]
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
