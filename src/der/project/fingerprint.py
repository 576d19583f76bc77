"""Code as an input of stages, by what it says: the syntax trees of the modules that a stage's script imports.

Comments, docstrings and formatting do not count, everything else does; a hash is the same on every Python
that the project supports.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from der.common.errors import UserError

PACKAGES = {"der": Path("src/der"), "stages": Path("stages")}  # ours, and where they lie from the root
WITHOUT_MEANING = ("kind", "type_comment", "type_ignores")  # fields of syntax trees
HAVE_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

Hashes = dict[str, str]  # dotted name of a module -> hash of its syntax tree


def hash_modules(script: str, root: Path = Path()) -> Hashes:
    """The hash of every module of ours that module ``script`` may import, straight and through others.

    Imports inside functions and under TYPE_CHECKING count, and so do the packages around each module.
    Raises UserError naming a module that cannot be parsed.
    """
    todo, hashes = [script], Hashes()
    while todo:
        name = todo.pop()
        path = find_module(name, root)
        if name in hashes or path is None:
            continue
        hashes[name], imported = _read(path, name)
        todo += [*_packages(name), *imported]
    return dict(sorted(hashes.items()))


def hash_module(name: str, root: Path = Path()) -> str | None:
    """The hash of one module of ours; None if there is none of that name."""
    path = find_module(name, root)
    return None if path is None else _read(path, name)[0]


def find_module(name: str, root: Path = Path()) -> Path | None:
    """The file of a module of ours; None if there is none of that name."""
    package, *parts = name.split(".")
    if package not in PACKAGES:
        return None
    path = root.joinpath(PACKAGES[package], *parts)
    files = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in files if file.is_file()), None)


def _packages(name: str) -> Iterator[str]:
    """Those around a module, which Python imports before it."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _read(path: Path, name: str) -> tuple[str, list[str]]:
    try:
        return _understand(path.read_bytes(), name, path.name == "__init__.py")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be parsed ({error}); correct it") from None


@cache
def _understand(source: bytes, name: str, is_package: bool) -> tuple[str, list[str]]:
    """The hash of a module's syntax tree, and the names of all that it may import."""
    tree = ast.parse(source)
    imported = list(_imported(tree, name if is_package else name.rpartition(".")[0]))
    return hash_tree(tree), imported


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def hash_tree(tree: ast.AST) -> str:
    """The hash of a syntax tree, hexadecimal."""
    return hashlib.sha256(dump(tree).encode()).hexdigest()


def dump(node: Any) -> str:
    """A syntax tree as ASCII text: kinds of nodes and what they hold, without docstrings and positions.

    Of our own, for ``ast.dump`` writes the same tree in other words on other versions of Python.
    """
    if isinstance(node, list):
        return f"[{','.join(map(dump, node))}]"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{_literal(node.value)}"
    if not isinstance(node, ast.AST):
        return ascii(node)  # repr escapes what this Python's Unicode does not know yet
    fields = [f"{name}={dump(value)}" for name, value in sorted(_meaning(node)) if value not in (None, [])]
    return f"{type(node).__name__}({','.join(fields)})"


def _literal(value: object) -> str:
    return hex(value) if type(value) is int else ascii(value)  # decimal digits have a limit


def _meaning(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """The fields of a node that decide what the code does, the same on every Python."""
    for name, value in ast.iter_fields(node):
        if name in WITHOUT_MEANING:
            continue
        if name == "body" and _has_docstring(node):
            value = value[1:]
        elif name == "values" and isinstance(node, ast.JoinedStr):
            # Python 3.12 ends some formats with an empty text.
            value = [part for part in value if not isinstance(part, ast.Constant) or part.value]
        yield name, value


def _has_docstring(node: ast.AST) -> bool:
    return isinstance(node, HAVE_DOCSTRINGS) and ast.get_docstring(node, clean=False) is not None
