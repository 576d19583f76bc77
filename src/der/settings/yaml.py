"""Reads YAML as DVC does, with ruamel.yaml, and edits it without losing comments."""

import re
from copy import deepcopy
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from der.core.errors import UserError

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
        raise UserError(f"{path}: not valid YAML ({_describe(error)})") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML (nested too deep)") from None


# Several callers read the same files: parsing takes ten times as long as copying the result.
@lru_cache(maxsize=8)
def _parse(text: str) -> Any:
    return YAML(typ="safe").load(text)


def _describe(error: Exception) -> str:
    """One line: what is wrong, and where; without ruamel's advice, which is for programmers."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    return f"line {error.problem_mark.line + 1}: {' '.join(str(error.problem).split())}"


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
        elif inner != value:
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
    editor.representer.add_representer(type(None), _represent_null)
    return editor


def _represent_null(representer: Any, value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
