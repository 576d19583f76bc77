"""Finds the user-defined functions that params.yaml names, module:function, as code of the stages."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from der.core.errors import ForeignCodeError, UserError
from der.core.files import from_here
from der.core.registry import import_own, module_of, refuse_pythons
from der.pipeline.fingerprint import Hashes, find_module, hash_modules, is_installed, is_ours
from der.pipeline.graph import read_stages
from der.pipeline.kept_code import recall
from der.pipeline.params import read_params, value_at
from der.pipeline.paths import GRAPH, PARAMS

# The module that resolves a setting's name: a stage whose code has it runs the function. Not imported, for
# the code behind it may not even parse.
LOOKED_UP_IN = {
    "dataset.source": "der.data.sources.registry",
    "network.backbone": "der.model.backbones",
    "network.head_initialization": "der.model.backbones",
    "train.incremental.rebalancing": "der.train.rebalancing",
    "memory.selection": "der.memory",
}


def named_modules(parameters: Any) -> dict[str, str]:
    """Return the user's modules that ``parameters``, all of params.yaml, name, by key."""
    texts = {key: value_at(parameters, key) for key in LOOKED_UP_IN}
    modules = {key: module_of(text) for key, text in texts.items() if isinstance(text, str)}
    return {key: module for key, module in modules.items() if module is not None}


@contextmanager
def importing_named() -> Iterator[None]:
    """Import the user's modules that params.yaml, if there is one, names, before checkpoints are read.

    Raises UserError if one cannot be imported, or if the block needs one that params.yaml does not name.
    """
    if PARAMS.is_file():
        for key, module in named_modules(read_params()).items():
            import_own(module, f"{PARAMS}: {key}")
    try:
        yield
    except ForeignCodeError as error:
        raise UserError(
            f"{error}, as der does with what the {PARAMS} of the current directory names"
        ) from None


def hash_stage(stage: str, named: dict[str, str]) -> Hashes:
    """Hash all code that ``stage`` runs; ``named`` are modules by key, from ``named_modules``."""
    script = f"stages.{stage}"
    hashes = hash_modules(script)
    own = [module for key, module in named.items() if LOOKED_UP_IN[key] in hashes]
    return hash_modules(script, own=own) if own else hashes


def hash_stages(stages: list[str]) -> dict[str, Hashes]:
    """Hash the code of every stage, with the modules that params.yaml names.

    Raises UserError for a module that cannot be parsed, belongs to Python, or that DVC does not watch.
    """
    recall()
    named = named_modules(read_params())
    for key, module in named.items():
        refuse_pythons(module, f"{PARAMS}: {key}")
    hashes = {stage: hash_stage(stage, named) for stage in stages}
    if named:
        check_watched({name for one in hashes.values() for name in one if not is_ours(name)})
    return hashes


def check_watched(names: Iterable[str]) -> None:
    """Raise UserError for a module that is neither installed nor a dependency of stage check in dvc.yaml."""
    watched = [Path(dep).resolve() for dep in read_stages()["check"]["deps"]]
    for name in sorted(names):
        path = find_module(name)
        assert path is not None, name
        if not is_installed(path) and not any(path.resolve().is_relative_to(place) for place in watched):
            raise UserError(
                f"{path}: DVC would not see an edit of this code; move it into src, or add it to the deps of "
                f"stage check in {GRAPH}: - {from_here(path.resolve())}"
            )
