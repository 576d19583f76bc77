"""A chain of another length, and what stages of steps past its end have left."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from der.core.errors import DamageError, UserError
from der.pipeline import paths
from der.pipeline.chain import CHAIN, write_chain
from der.pipeline.dvc import find_cache, holds
from der.pipeline.paths import is_unused


def resize(length: int) -> None:
    """Write chain.yaml for ``length`` steps; what stages of later ones left stays in DVC's cache alone.

    In the workspace it would count as part of the folders that summarize and report depend on. Raises
    UserError, and changes nothing, for what the cache lacks: nothing could bring it back.
    """
    left = list(_find_left(length))
    _check_cached([output for output in left if not _is_marker(output)], length)
    write_chain(length)
    for output in left:
        shutil.rmtree(output) if output.is_dir() else output.unlink()


def _find_left(length: int) -> Iterator[Path]:
    """What there is of steps past ``length``."""
    folders = {output.parent for output in paths.outputs(length)}
    steps = {step for folder in folders for step in paths.steps_in(folder)}
    for step in sorted(steps):
        if step > length:
            yield from filter(Path.exists, paths.outputs(step))


def _is_marker(output: Path) -> bool:
    try:
        return is_unused(output)
    except DamageError:
        return False


def _check_cached(outputs: list[Path], length: int) -> None:
    cache = _find_cache() if outputs else None
    for output in outputs:
        if cache is None or not holds(cache, output):
            raise UserError(
                f"{output}: past the end of a chain of {length} steps, and not in DVC's cache; move it away, "
                f"or run `dvc commit -f` while {paths.PARAMS} and {CHAIN} are those that made it"
            )


def _find_cache() -> Path | None:
    """DVC's cache; None where there is no DVC."""
    try:
        return find_cache()
    except (ModuleNotFoundError, UserError):
        return None
