"""The text of params.yaml with other values, its comments kept.

The document is laid out anew, every key with its comments, because ruamel keeps a comment with what happens
to stand before it, and loses it with that: `dvc exp run -S` and people write lists over several lines.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from io import StringIO
from itertools import accumulate
from typing import Any, NamedTuple

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, FoldedScalarString, LiteralScalarString
from ruamel.yaml.tokens import CommentToken

from der.common.errors import UserError
from der.common.yaml_document import is_section, yaml_editor
from der.common.yaml_text import parse_yaml
from der.project.paths import PARAMS

COMMENT_COLUMN = 27  # at which params.yaml's comments begin, or after the value if that is longer
INDENT = 2
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

    Comments inside brackets over several lines are lost, and inside lists written with dashes they end up
    below. Raises UserError if ``text`` is no YAML, or holds no keys and values.
    """
    parse_yaml(text, PARAMS)  # ruamel has no one error for all that can be wrong
    editor = yaml_editor()
    old = editor.load(text)
    if not isinstance(old, CommentedMap):
        raise UserError(f"{PARAMS}: holds no keys and values; restore it with `git checkout {PARAMS}`")
    new = lay_out(old, values)
    put_comments(new, list(list_keys(new, old)), list_comments(old, text))
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


def list_comments(old: CommentedMap, text: str) -> list[Comment]:
    """All comments and blank lines of a document, wherever ruamel keeps them, from top to bottom."""
    rows = text.split("\n")
    found = {(line, column, value): is_pre for line, column, value, is_pre in _find_comments(old)}
    comments = []
    for (line, column, value), is_pre in sorted(found.items()):
        first, *others = value.removesuffix("\n").split("\n")
        is_beside = bool(rows[line][:column].strip())
        if first or is_pre:  # else the end of a line of values
            comments.append(Comment(line, first.strip(), is_beside))
        comments += [Comment(line, one.strip(), False) for one in others]
    return comments


def _find_comments(node: Any) -> Iterator[tuple[int, int, str, bool]]:
    """The comments in and below a collection: line, column, text, and whether it stands before it."""
    if not isinstance(node, CommentedMap | CommentedSeq):
        return
    items = [(None, node.ca.comment or []), *node.ca.items.items(), (None, node.ca.end or [])]
    for key, places in items:
        for place in places:
            for token in place if isinstance(place, list) else [place]:
                if isinstance(token, str):  # behind the | or > of a text
                    yield (*node.lc.data[key][-2:], token, False)
                elif token is not None:
                    mark = token.start_mark
                    yield mark.line, mark.column, token.value, isinstance(place, list)
    for value in node.values() if isinstance(node, CommentedMap) else node:
        yield from _find_comments(value)


def put_comments(document: CommentedMap, keys: list[Key], comments: list[Comment]) -> None:
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
