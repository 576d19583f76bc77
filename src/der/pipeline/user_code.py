"""Finds the modules of user-defined functions, module:function, that params.yaml names."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from der.core.errors import ForeignCodeError, UserError
from der.core.files import from_here
from der.core.registry import import_own, module_of
from der.pipeline.project import GRAPH, PARAMS, read_params, read_stages, value_at

# The module that looks up the name in a setting: a stage whose code has it runs the user's function.
LOOKED_UP_IN = {
    "dataset.source": "der.data.sources.registry",
    "network.backbone": "der.model.backbones",
    "network.head_initialization": "der.model.backbones",
    "train.incremental.rebalancing": "der.train.step",
    "memory.selection": "der.memory",
}


def named_modules(parameters: Any) -> dict[str, str]:
    """List the user's modules named in ``parameters``, all of params.yaml, by key."""
    texts = {key: value_at(parameters, key) for key in LOOKED_UP_IN}
    return {
        key: module for key, text in texts.items() if isinstance(text, str) and (module := module_of(text))
    }


def check_watched(path: Path | None) -> None:
    """Raise UserError for a module outside of stage check's dependencies, unless it was installed."""
    watched = [Path(dep).resolve() for dep in read_stages()["check"]["deps"]]
    if path and not is_installed(path) and not any(path.resolve().is_relative_to(one) for one in watched):
        raise UserError(
            f"{path}: DVC would not see an edit of this code; move it into src, or add it to the deps of "
            f"stage check in {GRAPH}: - {from_here(path.resolve())}"
        )


def is_own(name: str, path: Path, packages: Iterable[str], root: Path) -> bool:
    """Tell whether a module is the user's: in one of ``packages``, or below ``root`` and not installed."""
    package = name.partition(".")[0]
    return package in packages or (
        path.resolve().is_relative_to(root.resolve())
        and not is_installed(path)
        and package not in sys.stdlib_module_names  # an environment may lie below root, Python and all
    )


def is_installed(path: Path) -> bool:
    """Tell whether a module was installed from a package, whose version identifies its code."""
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def find_package(name: str) -> list[Path]:
    """Find the place of a top-level module or package on Python's path."""
    spec = PathFinder.find_spec(name)
    if spec is None or spec.submodule_search_locations is not None:
        return [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    return [Path(spec.origin).with_suffix("")] if spec.origin and spec.origin.endswith(".py") else []


@contextmanager
def importing_named() -> Iterator[None]:
    """Import the user's modules that params.yaml names, if it exists, before checkpoints are read."""
    if PARAMS.is_file():
        for key, module in named_modules(read_params()).items():
            import_own(module, f"{PARAMS}: {key}")
    try:
        yield
    except ForeignCodeError as error:
        raise UserError(
            f"{error}, as der does with what the {PARAMS} of the current directory names"
        ) from None
