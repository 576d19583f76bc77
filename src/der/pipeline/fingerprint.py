"""Fingerprints of each stage's code, which stage check writes into data/fingerprints.

A fingerprint covers every module that the stage's script imports, directly or through others: its syntax
tree without docstrings, and files of its name beside it, as of a C++ kernel. It is the same on every Python.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import msgspec

from der.core import registry
from der.core.errors import DamageError, ForeignCodeError, UserError
from der.core.files import atomic_directory, digest, from_here, read_sealed, write_sealed
from der.pipeline import environment, project

PACKAGES = {"der": Path("src/der"), "stages": Path("stages")}  # ours, and where they lie from the root
SEAL = "all"  # in place of a module's name in a fingerprint's last line
# The module that looks up the name in a setting: a stage whose code has it runs the user's function.
LOOKED_UP_IN = {
    "dataset.source": "der.data.sources.registry",
    "network.backbone": "der.model.backbones",
    "network.head_initialization": "der.model.backbones",
    "train.incremental.rebalancing": "der.train.step",
    "memory.selection": "der.memory",
}
KEPT = "code.json"  # in the scratch directory: what modules say, by all that it was made from
WITHOUT_MEANING = frozenset({"kind", "type_comment", "type_ignores"})  # fields of syntax trees
HAVE_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_MADE_BY = Path(__file__).read_bytes() + sys.version.encode()

Hashes = dict[str, str]  # module -> hash of what it says
Said = tuple[str, list[str]]  # the hash of what a module says, and the names of all that it may import


class Code:
    """The code of this project below ``root``, and of the user's modules, ``named`` by setting."""

    def __init__(self, named: Mapping[str, str], root: Path = Path()) -> None:
        self.named, self.root = named, root
        self._packages = {name.partition(".")[0] for name in named.values()}
        self._read: dict[str, Said] = {}  # by all that it was made from
        try:
            self._kept = msgspec.convert(read_sealed(environment.scratch_root() / KEPT), dict[str, Said])
        except (DamageError, UserError, msgspec.ValidationError):
            self._kept = {}

    def keep(self) -> None:
        """Store the parsed code, so that stages need not parse it again; no fingerprint depends on this."""
        try:
            write_sealed(environment.scratch_root() / KEPT, dict(sorted(self._read.items())))
        except (OSError, UserError):
            return

    def hash_stage(self, stage: str) -> Hashes:
        """Hash every module that a stage may import, also inside functions, and their packages."""
        hashes = self._hash([f"stages.{stage}"])
        own = [module for key, module in self.named.items() if LOOKED_UP_IN[key] in hashes]
        return self._hash([f"stages.{stage}", *own]) if own else hashes

    def hash_module(self, name: str) -> str | None:
        """Hash one module's code; None if there is no such module."""
        said = self._module(name)
        return said and said[0]

    def _hash(self, todo: list[str]) -> Hashes:
        hashes, seen = Hashes(), set[str]()
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            if said := self._module(name):
                hashes[name] = said[0]
                packages = [name[:end] for end, letter in enumerate(name) if letter == "."]
                todo += [*packages, *(one for one in said[1] if is_ours(one) or not is_ours(name))]
        return dict(sorted(hashes.items()))

    def _module(self, name: str) -> Said | None:
        """Read a module of this project or of the user; None for any other name."""
        path, top = find_module(name, self.root), name.partition(".")[0]
        if path is None:
            return None
        # An environment may lie below root, Python and all.
        below = path.resolve().is_relative_to(self.root.resolve()) and top not in sys.stdlib_module_names
        if not (is_ours(name) or top in self._packages or (below and not is_installed(path))):
            return None
        beside = sorted(one for one in path.parent.glob(f"{path.stem}.*") if one.suffix[:3] != ".py")
        sources = [one.read_bytes() for one in (path, *beside)]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        key = digest(_MADE_BY + repr((package, sources)).encode())
        if key not in self._read:
            try:
                if (said := self._kept.get(key)) is None:
                    tree = ast.parse(sources[0])
                    code = digest(dump(tree).encode() + b"".join(sources[1:]))
                    said = code, list(_imported(tree, package))
                self._read[key] = said
            except (SyntaxError, ValueError, RecursionError) as error:
                raise UserError(f"{path}: cannot be parsed ({error}); correct it") from None
        return self._read[key]


def named_modules(parameters: Any) -> dict[str, str]:
    """List the user's modules named in ``parameters``, all of params.yaml, by key."""
    texts = {key: project.value_at(parameters, key) for key in LOOKED_UP_IN}
    return {
        key: module
        for key, text in texts.items()
        if isinstance(text, str) and (module := registry.module_of(text))
    }


def read_code(stages: Iterable[str], *, keep: bool = False) -> dict[str, str]:
    """Read the fingerprints of ``stages``; with ``keep`` the next reading is faster.

    Raises UserError for a module that cannot be parsed, is Python's own, or whose edits DVC would not see.
    """
    named = named_modules(project.read_params())
    for key, module in named.items():
        registry.refuse_pythons(module, f"{project.PARAMS}: {key}")
    code = Code(named)
    hashes = {stage: code.hash_stage(stage) for stage in stages}
    watched = [Path(dep).resolve() for dep in project.read_stages()["check"]["deps"]]
    for name in sorted({name for found in hashes.values() for name in found if not is_ours(name)}):
        path = find_module(name)
        if path and not is_installed(path) and not any(path.resolve().is_relative_to(one) for one in watched):
            raise UserError(
                f"{path}: DVC would not see an edit of this code; move it into src, or add it to the deps of "
                f"stage check in {project.GRAPH}: - {from_here(path.resolve())}"
            )
    if keep:
        code.keep()
    return {stage: describe(found) for stage, found in hashes.items()}


def write_fingerprints(texts: dict[str, str]) -> list[str]:
    """Write the fingerprints of ``read_code`` if any is new; return the stages with a new one."""
    old = {path.name: path.read_text("utf-8", "replace") for path in project.FINGERPRINTS.glob("*")}
    if texts != old:
        with atomic_directory(project.FINGERPRINTS) as directory:
            for stage, text in texts.items():
                (directory / stage).write_text(text, encoding="utf-8")
    if read_code(texts, keep=True) != texts:
        raise UserError("src: edited while stage check read it; run `dvc repro` again")
    return [stage for stage, text in texts.items() if old.get(stage) != text]


def describe(hashes: Hashes) -> str:
    """Write a fingerprint as text: a line for every module, and the SHA-256 of all these."""
    text = "".join(f"{code} {name}\n" for name, code in hashes.items())
    return f"{text}{digest(text.encode())} {SEAL}\n"


def check_fingerprint(path: Path) -> None:
    """Raise DamageError if a file of data/fingerprints was changed after it was written."""
    *lines, seal = path.read_bytes().splitlines(keepends=True) or [b""]
    if seal != f"{digest(b''.join(lines))} {SEAL}\n".encode():
        raise DamageError(f"{path}: damaged, its bytes are not those that were written")


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


def is_installed(path: Path) -> bool:
    """Tell whether a module was installed from a package, whose version identifies its code."""
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def find_module(name: str, root: Path = Path()) -> Path | None:
    """Find a module's file without importing it: ours from ``root``, others on Python's path."""
    package, *parts = name.split(".")
    if package in PACKAGES:
        places = [root / PACKAGES[package]]
    else:
        spec = PathFinder.find_spec(package)
        folders = spec and spec.submodule_search_locations
        places = [*map(Path, folders or [])]
        if spec is not None and folders is None:
            places = [Path(str(spec.origin)).with_suffix("")]
    paths = [Path(place, *parts) for place in places]
    files = [file for path in paths for file in (path / "__init__.py", path.with_name(f"{path.name}.py"))]
    return next(filter(Path.is_file, files), None)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def dump(node: Any) -> str:
    """Write a syntax tree as ASCII text, without docstrings; ast.dump's depends on Python's version."""
    if isinstance(node, list):
        return f"[{','.join(map(dump, node))}]"
    if isinstance(node, ast.Constant):  # of whole numbers the decimal digits have a limit
        value = hex(node.value) if type(node.value) is int else ascii(node.value)
        return f"{type(node.value).__name__}:{value}"
    if not isinstance(node, ast.AST):
        return ascii(node)  # repr escapes what this Python's Unicode does not know yet
    said = ((name, _meaning(node, name)) for name in sorted(set(node._fields) - WITHOUT_MEANING))
    fields = [f"{name}={dump(value)}" for name, value in said if value not in (None, [])]
    return f"{type(node).__name__}({','.join(fields)})"


def _meaning(node: ast.AST, name: str) -> Any:
    value: Any = getattr(node, name, None)
    if name == "body" and isinstance(node, HAVE_DOCSTRINGS):
        return value[ast.get_docstring(node, clean=False) is not None :]
    if name == "values" and isinstance(node, ast.JoinedStr):  # Python 3.12 ends some with an empty text
        return [part for part in value if not isinstance(part, ast.Constant) or part.value]
    return value


@contextmanager
def importing_named() -> Iterator[None]:
    """Import the user's modules that params.yaml names, if it exists, before checkpoints are read."""
    if project.PARAMS.is_file():
        for key, module in named_modules(project.read_params()).items():
            registry.import_own(module, f"{project.PARAMS}: {key}")
    try:
        yield
    except ForeignCodeError as error:
        raise UserError(
            f"{error}, as der does with what the {project.PARAMS} of the current directory names"
        ) from None
