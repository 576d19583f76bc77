"""Which modules of the project a stage script imports, directly or by way of others."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def import_closure(root: Path, script: str) -> set[str]:
    """Paths of the non-empty modules that ``script`` may import, itself and the packages' own included.

    Imports inside functions and under TYPE_CHECKING count. An empty __init__.py cannot change what a stage
    does, so it does not.
    """
    todo, seen = [script.removesuffix(".py").replace("/", ".")], set()
    files = set()
    while todo:
        name = todo.pop()
        file = _module_file(root, name)
        if name in seen or file is None:
            continue
        seen.add(name)
        files.add(file)
        todo += _parents(name)
        todo += _imported(ast.parse(file.read_text(encoding="utf-8")), file)
    return {file.relative_to(root).as_posix() for file in files if not is_empty(file)}


def is_empty(file: Path) -> bool:
    """Whether a module holds nothing at all."""
    return not file.read_bytes().strip()


def modules_below(root: Path, directory: str) -> set[str]:
    """Paths of all non-empty modules in ``directory`` and below."""
    return {
        file.relative_to(root).as_posix() for file in (root / directory).rglob("*.py") if not is_empty(file)
    }


def _module_file(root: Path, name: str) -> Path | None:
    for base in (root / "src", root):
        path = base.joinpath(*name.split("."))
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.exists():
                return file
    return None


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imported(tree: ast.AST, file: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{file}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def compare(root: Path, imported: set[str], declared: Iterable[str]) -> list[str]:
    """What is wrong with the modules that dvc.yaml names for a stage, as lines to add or to remove."""
    remaining = set(imported)
    lines = []
    for path in declared:
        modules = modules_below(root, path) if (root / path).is_dir() else {path}
        if modules and modules <= imported:
            remaining -= modules
        else:
            lines.append(f"remove - {path}" + _reason(sorted(modules - imported), path))
    return lines + [f"add    - {path}" for path in sorted(remaining)]


def _reason(unused: list[str], path: str) -> str:
    return f"   (not imported: {', '.join(unused)})" if unused and unused != [path] else ""
