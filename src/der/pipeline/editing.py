"""The text of params.yaml with other values, its comments kept.

The document is laid out anew, every key with its comments, because ruamel keeps a comment with what happens
to stand before it, and loses it with that: `dvc exp run -S` and people write lists over several lines.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import accumulate
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, FoldedScalarString, LiteralScalarString
from ruamel.yaml.tokens import (
    CommentToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    ScalarToken,
)

from der.core.errors import UserError
from der.core.yaml_document import is_section, yaml_editor
from der.core.yaml_text import parse_yaml
from der.pipeline.paths import PARAMS

COMMENT_COLUMN = 27  # at which params.yaml's comments begin, or after the value if that is longer
INDENT = 2
OPENING = (FlowMappingStartToken, FlowSequenceStartToken)
CLOSING = (FlowMappingEndToken, FlowSequenceEndToken)
BLOCK = re.compile(r"[|>][-+\d]*")  # before a text over several lines
PLAIN = re.compile(r"[\w~/.]([\w ~/.+-]*[\w~/.+-])?")  # texts that are safe without quotes, or get their own


class Key(NamedTuple):
    """A key of the new document, and the line of the old one that it stood in."""

    holder: CommentedMap
    name: Any
    depth: int
    line: int  # that of the key before, if it is new


class Comment(NamedTuple):
    """A line of the old document from the "#" on, empty for a blank one."""

    line: int  # below the key before, not below the next
    text: str
    is_beside: bool  # something


def put_values(text: str, values: Any) -> str:
    """The text of params.yaml with ``values`` in it, comments kept; the same whatever values it had.

    Comments inside lists over several lines end up beside and below them. Raises UserError if ``text`` is no
    YAML, or holds no keys and values.
    """
    parse_yaml(text, PARAMS)  # ruamel has no one error for all that can be wrong
    text = text.removeprefix("\ufeff")
    editor = yaml_editor()
    old = editor.load(text)
    if not isinstance(old, CommentedMap):
        raise UserError(f"{PARAMS}: holds no keys and values; restore it with `git checkout {PARAMS}`")
    new = lay_out(old, values)
    put_comments(new, list(list_keys(new, old)), list_comments(text))
    stream = StringIO()
    editor.dump(new, stream)
    return re.sub(r" +$", "", stream.getvalue(), flags=re.MULTILINE)  # ruamel's, where it breaks a list


def lay_out(old: Any, values: Any) -> CommentedMap:
    """Both together without comments, ``values`` first, in the order of ``old``; lists in brackets."""
    new = CommentedMap()
    for key in [*old, *(key for key in values if key not in old)]:
        before = old.get(key)
        if key not in values:
            new[key] = _copy(before)
        elif is_section(values[key]):
            new[key] = lay_out(before if isinstance(before, CommentedMap) else {}, values[key])
        else:
            new[key] = _copy(values[key])
    return new


def _copy(value: Any) -> Any:
    """A value without comments, collections and texts in one line."""
    if isinstance(value, LiteralScalarString | FoldedScalarString):
        return str(value)
    if isinstance(value, dict):
        copy: Any = CommentedMap((_quote(key), _quote(_copy(one))) for key, one in value.items())
    elif isinstance(value, list):
        copy = CommentedSeq(_quote(_copy(one)) for one in value)
    else:
        return value
    copy.fa.set_flow_style()
    return copy


def _quote(value: Any) -> Any:
    """A text inside brackets in quotes, if it needs them: ruamel's two readers differ about "a:b" there."""
    return DoubleQuotedScalarString(value) if type(value) is str and not PLAIN.fullmatch(value) else value


def list_keys(new: CommentedMap, old: Any, depth: int = 0, line: int = 0) -> Iterator[Key]:
    """All keys of ``new`` from top to bottom."""
    for name, value in new.items():
        if name in old:
            line = old.lc.key(name)[0]
        yield Key(new, name, depth, line)
        if is_section(value):
            before = old.get(name)
            yield from list_keys(value, before if isinstance(before, CommentedMap) else {}, depth + 1, line)


def list_comments(text: str) -> Iterator[Comment]:
    """All comments and blank lines of a document, from top to bottom, without blank lines in brackets."""
    for start, stop, is_inside in _find_gaps(text):
        line = text.count("\n", 0, start)
        first, *others = text[start:stop].split("\n")
        if first.strip():
            before = text[text.rfind("\n", 0, start) + 1 : start]
            yield Comment(line, first.strip(), bool(before.strip()))
        for number, below in enumerate(others, start=1):
            if below.strip() or not (is_inside or number == len(others)):  # the last is a token's indentation
                yield Comment(line + number, below.strip(), False)


def _find_gaps(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where a document's comments and white space begin and end, and whether that is inside brackets."""
    end = depth = 0
    for token in YAML(typ="safe", pure=True).scan(text):
        start = token.start_mark.index
        if start > end:
            yield end, start, depth > 0
        depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
        end = max(end, token.end_mark.index)
        if isinstance(token, ScalarToken) and token.style in ("|", ">"):  # it has the blank lines below, too
            sign = BLOCK.match(text, start)
            assert sign is not None, start
            yield sign.end(), start + len(text[start:end].partition("\n")[0]), False
            end = start + len(text[start:end].rstrip())


def put_comments(document: CommentedMap, keys: list[Key], comments: Iterable[Comment]) -> None:
    """Put every comment beside the key it stood beside, or above the one it stood above."""
    lines = list(accumulate((key.line for key in keys), max))
    beside: dict[int, str] = {}
    above: list[list[str]] = [[] for _ in [*keys, None]]  # and below the last
    for line, text, is_beside in comments:
        below = bisect_right(lines, line)  # the first key there
        first = bisect_left(lines, lines[below - 1]) if is_beside and below else -1  # key of its line
        if first in (-1, *beside):
            above[below].append(text)
        else:
            beside[first] = text
    depths = [*(key.depth for key in keys[1:]), 0]
    for index, (key, depth) in enumerate(zip(keys, depths, strict=True)):
        text = "\n".join([beside.get(index, ""), *_indent(above[index + 1], depth)])
        if text:
            key.holder.ca.items[key.name] = [None, None, _token(text, COMMENT_COLUMN), None]
    if top := "\n".join(above[0]).lstrip("\n"):
        document.ca.comment = [None, [_token(top, 0)]]


def _indent(lines: list[str], depth: int) -> list[str]:
    return [" " * INDENT * depth + line if line else "" for line in lines]


def _token(text: str, column: int) -> CommentToken:
    return CommentToken(text + "\n", CommentMark(column), None)
