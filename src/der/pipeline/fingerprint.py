"""Code as an input of stages, by what it says: the syntax trees of the modules that a stage's script imports.

Comments, docstrings and formatting do not count, everything else does; a hash is the same on every Python
that the project supports.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Set
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from der.core.errors import UserError

PACKAGES = {"der": Path("src/der"), "stages": Path("stages")}  # ours, and where they lie from the root
WITHOUT_MEANING = frozenset({"kind", "type_comment", "type_ignores"})  # fields of syntax trees
HOLD_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
HAVE_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

Hashes = dict[str, str]  # dotted name of a module -> hash of its syntax tree


class Understood(NamedTuple):
    """What a module says."""

    digest: str  # of its syntax tree, hexadecimal
    imported: list[str]  # the names of all that it may import


# By all that it was made from, this module among that: what this process has read, and what another had.
understood: dict[str, Understood] = {}
known_before: dict[str, Understood] = {}
_MADE_BY = hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode())


def hash_modules(script: str, root: Path = Path(), own: Iterable[str] = ()) -> Hashes:
    """The hash of every module of ours that module ``script`` may import, straight and through others.

    Modules in ``own``, of the user's, come with the modules in the same packages and below ``root`` that they
    may import. Imports inside functions and under TYPE_CHECKING count, and so do the packages around each
    module. Raises UserError naming a module that cannot be parsed.
    """
    todo, hashes = [script, *own], Hashes()
    packages, seen = {name.partition(".")[0] for name in own}, set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        path = find_module(name, root)
        if path is None or not (is_ours(name) or is_own(name, path, packages, root)):
            continue
        hashes[name], imported = _read(path, name)
        todo += [*_packages(name), *(one for one in imported if is_ours(one) or not is_ours(name))]
    return dict(sorted(hashes.items()))


def is_ours(name: str) -> bool:
    """Whether a module is one of this project's packages."""
    return name.partition(".")[0] in PACKAGES


def is_own(name: str, path: Path, packages: Set[str], root: Path) -> bool:
    """Whether a module is the user's: in one of ``packages``, or below ``root`` without being installed."""
    package = name.partition(".")[0]
    return package in packages or (
        path.resolve().is_relative_to(root.resolve())
        and not is_installed(path)
        and package not in sys.stdlib_module_names  # an environment may lie below root, Python and all
    )


def is_installed(path: Path) -> bool:
    """Whether a module was installed from a package, whose version decides on its code."""
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def hash_module(name: str, root: Path = Path()) -> str | None:
    """The hash of one module; None if there is none of that name."""
    path = find_module(name, root)
    return None if path is None else _read(path, name).digest


def find_module(name: str, root: Path = Path()) -> Path | None:
    """The file of a module, of ours from ``root``, of others from Python's path; None if there is none."""
    package, *parts = name.split(".")
    places = [root / PACKAGES[package]] if package in PACKAGES else find_package(package)
    paths = [os.path.join(place, *parts) for place in places]
    files = [file for path in paths for file in (f"{path}/__init__.py", f"{path}.py")]
    return next((Path(file) for file in files if os.path.isfile(file)), None)


def find_package(name: str) -> list[Path]:
    """Where a module without dots lies, or would as a package, on Python's path; nothing is imported."""
    try:
        spec = PathFinder.find_spec(name)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(place) for place in spec.submodule_search_locations]
    return [Path(spec.origin).with_suffix("")] if spec.origin and spec.origin.endswith(".py") else []


def _packages(name: str) -> Iterator[str]:
    """Those around a module, which Python imports before it."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _read(path: Path, name: str) -> Understood:
    is_package = path.name == "__init__.py"
    source = path.read_bytes()
    made_from = _MADE_BY.copy()
    made_from.update(repr((name, is_package, source)).encode())
    key = made_from.hexdigest()
    if key not in understood:
        try:
            understood[key] = known_before.get(key) or _understand(source, name, is_package)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: cannot be parsed ({error}); correct it") from None
    return understood[key]


def _understand(source: bytes, name: str, is_package: bool) -> Understood:
    tree = ast.parse(source)
    package = name if is_package else name.rpartition(".")[0]
    return Understood(hash_tree(tree), list(_imported(tree, package)))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All of a tree that may hold statements, or is one; expressions, most of every tree, hold none."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, HOLD_STATEMENTS):
            yield node
            yield from _statements(node)


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
    fields = [
        f"{name}={dump(value)}"
        for name in _meaningful(node._fields)
        if (value := _meaning(node, name)) not in (None, [])
    ]
    return f"{type(node).__name__}({','.join(fields)})"


def _literal(value: object) -> str:
    return hex(value) if type(value) is int else ascii(value)  # decimal digits have a limit


@cache
def _meaningful(fields: tuple[str, ...]) -> list[str]:
    """Those of a node's fields that decide what the code does."""
    return sorted(set(fields) - WITHOUT_MEANING)


def _meaning(node: ast.AST, name: str) -> Any:
    """What a field of a node says, the same on every Python."""
    value: Any = getattr(node, name, None)
    if name == "body" and _has_docstring(node):
        return value[1:]
    if name == "values" and isinstance(node, ast.JoinedStr):
        # Python 3.12 ends some formats with an empty text.
        return [part for part in value if not isinstance(part, ast.Constant) or part.value]
    return value


def _has_docstring(node: ast.AST) -> bool:
    return isinstance(node, HAVE_DOCSTRINGS) and ast.get_docstring(node, clean=False) is not None
