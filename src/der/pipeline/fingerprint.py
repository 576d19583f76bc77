"""What code a stage runs, as text that changes with it: data/fingerprints, which stage check writes.

Of every module two things count: what it runs when it is imported, and the definitions (functions, classes,
plain assignments) whose names are used in code that counts, starting from the stage's script. Where a name
cannot be resolved, all of its module counts. Comments, docstrings and layout do not. A fingerprint is the
same on every Python that the project supports.
"""

import ast
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import msgspec

from der.core.errors import DamageError, UserError
from der.core.files import atomic_directory, from_here
from der.core.registry import module_of, refuse_pythons
from der.core.sealed import read_sealed, write_sealed
from der.pipeline.environment import scratch_root
from der.pipeline.params import read_params, value_at
from der.pipeline.paths import FINGERPRINTS, GRAPH, PARAMS, read_stages

PACKAGES = {"der": Path("src/der"), "stages": Path("stages")}  # ours, and where they lie from the root
# In which table a setting's name is looked up: a stage that reaches it runs the user's function.
REGISTRIES = {
    "dataset.source": "SOURCES",
    "network.backbone": "BACKBONES",
    "network.head_initialization": "HEAD_INITIALIZATIONS",
    "train.incremental.rebalancing": "REBALANCINGS",
    "memory.selection": "SELECTIONS",
}
ALL, NOTHING = "*", ""  # in place of a name in a module: all that it defines, or only that it is imported
SEAL = "all"  # in place of a module's name in a fingerprint's last line
KEPT = "code.json"  # in the scratch directory: what modules say, by all that it was made from
# Decorators that do nothing but to what they decorate; what others do when they run always counts.
PLAIN_DECORATORS = re.compile(
    r"(.*\.)?(cache|contextmanager|dataclass|inference_mode|jit|lru_cache|no_grad|overload|runtime_checkable)"
)
NAMED_AS_TEXT = re.compile(rf"((?:{'|'.join(PACKAGES)})(?:\.\w+)+)(?::(\w+))?")  # module, or module:function
WITHOUT_MEANING = frozenset({"kind", "type_comment", "type_ignores"})  # fields of syntax trees
HAVE_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_MADE_BY = hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode())

Reached = dict[str, set[str]]  # module -> the names in it that count
Hashes = dict[str, str]  # module -> hash of what counts in it
Target = tuple[str, str]  # a module, and a name in it
Import = tuple[str, str, str]  # the name that is bound, a module, and the name in it or NOTHING


class Part(msgspec.Struct, array_like=True):
    """A piece of code: the hash of its syntax trees, and what it refers to."""

    digest: str
    uses: list[tuple[str, str]]  # a name and its attribute, or ALL
    imports: list[Import]


class Module(msgspec.Struct, array_like=True):
    """The part of a module that runs when it is imported, and those that run if they are used."""

    always: Part
    definitions: dict[str, Part]


class Code:
    """The code of this project, which lies below ``root``, and that of the user's modules.

    These are ``named`` by the setting that chooses them. All counts in them, and in what they import from
    their own packages and from below ``root``.
    """

    def __init__(self, named: Mapping[str, str], root: Path = Path()) -> None:
        self.named, self.root = named, root
        self._modules: dict[str, Module | None] = {}
        self._read: dict[str, Module] = {}  # by all that they were made from
        try:
            self._kept = msgspec.convert(read_sealed(scratch_root() / KEPT), dict[str, Module])
        except (DamageError, UserError, msgspec.ValidationError):
            self._kept = {}

    def keep(self) -> None:
        """Keep what was read, so that stages need not parse it again; no fingerprint depends on that."""
        try:
            (scratch_root() / KEPT).parent.mkdir(parents=True, exist_ok=True)
            write_sealed(scratch_root() / KEPT, msgspec.to_builtins(dict(sorted(self._read.items()))))
        except (OSError, UserError):
            return

    def reach(self, script: str) -> Reached:
        """What counts for a module that is run; raises UserError naming a module that cannot be parsed."""
        reached, todo = Reached(), [(script, ALL)]
        while todo:
            name, wanted = todo.pop()
            if (module := self._module(name)) is None:
                continue
            if name not in reached:
                reached[name] = set()
                todo += [(name[:end], NOTHING) for end, letter in enumerate(name) if letter == "."]
                todo += self._follow(name, module, module.always)
            names, elsewhere = self._select(name, module, wanted)
            todo += elsewhere
            for one in names - reached[name]:
                todo += self._follow(name, module, module.definitions[one])
                todo += [(own, ALL) for key, own in self.named.items() if REGISTRIES[key] == one]
            reached[name] |= names
        return reached

    def hash_reached(self, reached: Reached) -> Hashes:
        """The hash of every module of which something counts."""
        hashes = {name: self.hash_module(name, names) for name, names in sorted(reached.items())}
        return {name: digest for name, digest in hashes.items() if digest}

    def hash_module(self, name: str, names: Set[str]) -> str:
        """The hash of what counts in a module, and of files of its name beside it; "" if nothing does."""
        module, path = self._module(name), find_module(name, self.root)
        if module is None or path is None:
            return ""
        parts = [module.always, *(part for one, part in sorted(module.definitions.items()) if one in names)]
        if is_ours(name) and not any(part.digest for part in parts):
            return ""
        used = {one for part in parts for one, _ in part.uses}
        unused = {one for part in module.definitions.values() for one, _ in part.uses} - used
        imports = [one for one in sorted(module.always.imports) if one[0] not in unused]
        beside = [one for one in sorted(path.parent.glob(f"{path.stem}.*")) if one.suffix[:3] != ".py"]
        counts = [part.digest for part in parts], imports, [_sha256(one.read_bytes()) for one in beside]
        return _sha256(repr(counts).encode())

    def _select(self, name: str, module: Module, wanted: str) -> tuple[Set[str], list[Target]]:
        """What a name in a module stands for: definitions there, and what lies elsewhere."""
        if wanted == NOTHING or wanted in module.definitions:
            return {wanted} - {NOTHING}, []
        if imports := [one for one in module.always.imports if one[0] == wanted != ALL]:
            return set(), [target for one in imports for target in self._resolve(one, ALL)]
        if self._module(f"{name}.{wanted}") is not None:
            return set(), [(f"{name}.{wanted}", ALL)]
        return module.definitions.keys(), []

    def _follow(self, name: str, module: Module, part: Part) -> Iterator[Target]:
        """What a part of a module refers to, and what it imports if that is not used."""
        for one, attribute in part.uses:
            if one in module.definitions:
                yield name, one
            for imported in (*part.imports, *module.always.imports):
                if imported[0] == one:
                    yield from self._resolve(imported, attribute)
        for imported in part.imports:
            yield imported[1], NOTHING
            yield from self._resolve(imported, ALL if imported[0] in (ALL, NOTHING) else NOTHING)

    def _resolve(self, imported: Import, attribute: str) -> Iterator[Target]:
        """What is meant by an attribute of what was imported: of a function or a class, itself is."""
        _, name, member = imported
        module = self._module(name)
        bound = {*module.definitions, *(one[0] for one in module.always.imports)} if module else set[str]()
        if member == NOTHING:
            yield name, attribute
        elif member not in bound and self._module(f"{name}.{member}"):
            yield f"{name}.{member}", attribute
        else:
            yield name, member if attribute else NOTHING

    def _module(self, name: str) -> Module | None:
        """A module of ours or of the user's; None for any other name."""
        if name not in self._modules:
            path = find_module(name, self.root) if is_ours(name) or self.named else None
            packages = {one.partition(".")[0] for one in self.named.values()}
            counts = path and (is_ours(name) or is_own(name, path, packages, self.root))
            self._modules[name] = self._parse(path, name) if path and counts else None
        return self._modules[name]

    def _parse(self, path: Path, name: str) -> Module:
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        source, made_from = path.read_bytes(), _MADE_BY.copy()
        made_from.update(repr((package, is_ours(name), source)).encode())
        key = made_from.hexdigest()
        try:
            self._read[key] = self._kept.get(key) or understand(source, package, whole=not is_ours(name))
        except (SyntaxError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: cannot be parsed ({error}); correct it") from None
        return self._read[key]


def read_code(stages: Iterable[str], *, keep: bool = False) -> dict[str, str]:
    """The fingerprints of ``stages``; ``keep`` has them read faster next time.

    Raises UserError for a module that cannot be parsed, is Python's own, or whose edits DVC would not see.
    """
    named = named_modules(read_params())
    for key, module in named.items():
        refuse_pythons(module, f"{PARAMS}: {key}")
    code = Code(named)
    hashes = {stage: code.hash_reached(code.reach(f"stages.{stage}")) for stage in stages}
    for name in sorted({name for found in hashes.values() for name in found if not is_ours(name)}):
        _check_watched(name)
    if keep:
        code.keep()
    return {stage: describe(found) for stage, found in hashes.items()}


def write_fingerprints(texts: dict[str, str]) -> list[str]:
    """Write fingerprints, as of ``read_code``, if any is new; returns the stages with a new one.

    Raises UserError if code was edited since.
    """
    paths = FINGERPRINTS.glob("*")
    old = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in paths}
    if texts != old:
        with atomic_directory(FINGERPRINTS) as directory:
            for stage, text in texts.items():
                (directory / stage).write_text(text, encoding="utf-8")
    if read_code(texts, keep=True) != texts:
        raise UserError("src: edited while stage check read it; run `dvc repro` again")
    return [stage for stage, text in texts.items() if old.get(stage) != text]


def named_modules(parameters: Any) -> dict[str, str]:
    """The user's modules that ``parameters``, all of params.yaml, name, by key."""
    texts = {key: value_at(parameters, key) for key in REGISTRIES}
    modules = {key: module_of(text) for key, text in texts.items() if isinstance(text, str)}
    return {key: module for key, module in modules.items() if module is not None}


def _check_watched(name: str) -> None:
    """Raise UserError for a module outside of what stage check depends on, unless it was installed."""
    path = find_module(name)
    watched = [Path(dep).resolve() for dep in read_stages()["check"]["deps"]]
    if path and not is_installed(path) and not any(path.resolve().is_relative_to(one) for one in watched):
        raise UserError(
            f"{path}: DVC would not see an edit of this code; move it into src, or add it to the deps of "
            f"stage check in {GRAPH}: - {from_here(path.resolve())}"
        )


def describe(hashes: Hashes) -> str:
    """A fingerprint as text: a line for every module, and the SHA-256 of all these."""
    text = "".join(f"{digest} {name}\n" for name, digest in hashes.items())
    return f"{text}{_sha256(text.encode())} {SEAL}\n"


def check_fingerprint(path: Path) -> None:
    """Raise DamageError if a file of data/fingerprints is not as it was written, for whatever code."""
    *lines, seal = path.read_bytes().splitlines(keepends=True) or [b""]
    if seal != f"{_sha256(b''.join(lines))} {SEAL}\n".encode():
        raise DamageError(f"{path}: damaged, its bytes are not those that were written")


def understand(source: bytes, package: str, *, whole: bool) -> Module:
    """What a module in ``package`` says; of a module that counts ``whole``, all runs when it is imported."""
    always: list[ast.stmt] = []
    definitions: dict[str, list[ast.stmt]] = {}
    tree = ast.parse(source)
    todo = tree.body[::-1]
    while todo:
        statement = todo.pop()
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            todo += statement.orelse[::-1]
            continue
        names = [] if whole else _names_defined(statement)
        for name in names:
            definitions.setdefault(name, []).append(statement)
        if not names and not (statement is tree.body[0] and _has_docstring(tree)):
            always.append(statement)
    at_import = _part(always, package, definitions.keys())
    known = definitions.keys() | {one[0] for one in at_import.imports}
    return Module(at_import, {name: _part(them, package, known) for name, them in definitions.items()})


def _names_defined(statement: ast.stmt) -> list[str]:
    """The names that a statement binds, if that is all it does."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            calls = [ast.unparse(one).partition("(")[0] for one in statement.decorator_list]
            plain = all(PLAIN_DECORATORS.fullmatch(call) for call in calls)
            return [statement.name] if plain else []
        case ast.Assign(targets=targets):
            leaves = [leaf for one in targets for leaf in (one.elts if isinstance(one, ast.Tuple) else [one])]
        case ast.AnnAssign(target=target):
            leaves = [target]
        case _:
            return []
    names = [leaf.id for leaf in leaves if isinstance(leaf, ast.Name)]
    return names if len(names) == len(leaves) else []


def _part(statements: list[ast.stmt], package: str, names: Set[str]) -> Part:
    """What statements say; of the names that they use those in ``names``, or that they import."""
    uses, imports, seen = list[tuple[str, str]](), list[tuple[str, str, str]](), set[ast.AST]()
    for node in (node for statement in statements for node in ast.walk(statement)):
        match node:
            case ast.Import(names=aliases):
                for name, bound in ((one.name, one.asname) for one in aliases):
                    plain = bound or "." not in name  # import a.b binds a: all of b may be meant
                    imports.append((bound or name.partition(".")[0], name, NOTHING if plain else ALL))
            case ast.ImportFrom(module=module, names=aliases, level=level):
                above = package.split(".")[: 1 - level or None] if level else []
                place = ".".join([*above, *filter(None, [module])])
                imports += [(one.asname or one.name, place, one.name) for one in aliases]
            case ast.Attribute(value=ast.Name(id=name) as value, attr=attribute):
                uses.append((name, attribute))
                seen.add(value)
            case ast.Name(id=name) if node not in seen:
                uses.append((name, ALL))
            case ast.Constant(value=str(text)) if text.isidentifier():
                uses.append((text, ALL))
            case ast.Constant(value=str(text)) if named := NAMED_AS_TEXT.fullmatch(text):
                imports.append((NOTHING, named[1], named[2] or ALL))
    said = [dump(one) for one in statements if not isinstance(one, ast.Import | ast.ImportFrom)]
    digest = _sha256(" ".join(said).encode()) if said else ""
    known = names | {one[0] for one in imports}
    return Part(digest, [use for use in dict.fromkeys(uses) if use[0] in known], list(dict.fromkeys(imports)))


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
        spec = None
    if spec is None or spec.submodule_search_locations is not None:
        return [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    return [Path(spec.origin).with_suffix("")] if spec.origin and spec.origin.endswith(".py") else []


def dump(node: Any) -> str:
    """A syntax tree as ASCII text: kinds of nodes and what they hold, without docstrings and positions.

    Of our own, for ``ast.dump`` writes the same tree in other words on other versions of Python.
    """
    if isinstance(node, list):
        return f"[{','.join(map(dump, node))}]"
    if isinstance(node, ast.Constant):  # of whole numbers the decimal digits have a limit
        value = hex(node.value) if type(node.value) is int else ascii(node.value)
        return f"{type(node.value).__name__}:{value}"
    if not isinstance(node, ast.AST):
        return ascii(node)  # repr escapes what this Python's Unicode does not know yet
    said = ((name, _meaning(node, name)) for name in _meaningful(node._fields))
    fields = [f"{name}={dump(value)}" for name, value in said if value not in (None, [])]
    return f"{type(node).__name__}({','.join(fields)})"


@cache
def _meaningful(fields: tuple[str, ...]) -> list[str]:
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


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
