"""Whether a finished run is of the parameters that params.yaml has now."""

from typing import Any

from msgspec.structs import replace

from der.core.errors import UserError
from der.core.sealed import SealedDirectory
from der.data.protocol import plan_steps
from der.model import METADATA, START
from der.pipeline.paths import PARAMS, checkpoint
from der.settings.experiment import Settings
from der.settings.section import to_values


def check_training(last: int, settings: Settings) -> None:
    """Raise UserError unless the checkpoint after the ``last`` step was trained with ``settings``."""
    metadata = check_recipes(last, settings)
    try:
        planned = plan_steps(sorted(name for step in metadata["steps"] for name in step), settings.protocol)
    except UserError:  # the protocol is of other classes
        planned = []
    if metadata["steps"] != planned:
        raise _other(last)


def check_recipes(last: int, settings: Settings) -> dict[str, Any]:
    """The content of network.json after the ``last`` step; raises UserError if other parameters made it."""
    metadata = SealedDirectory(checkpoint(last)).read_json(METADATA)
    if not isinstance(metadata, dict) or not metadata.get("steps"):
        raise UserError(f"{checkpoint(last) / METADATA}: not of a trained network; run `dvc repro` first")
    recipes = [to_values(settings.train.recipe(step)) for step in range(1, last + 1)]
    network = to_values(replace(settings.network, weights=_weights()))
    if [metadata.get("network"), metadata.get("recipes")] != [network, recipes]:
        raise _other(last)
    return metadata


def _weights() -> str | None:
    """What the first extractor started from, by its identity."""
    digest = SealedDirectory(checkpoint(0)).digests.get(START)
    return None if digest is None else f"sha256:{digest}"


def _other(last: int) -> UserError:
    path = checkpoint(last) / METADATA
    return UserError(f"{path}: trained with other parameters than {PARAMS} has; run `dvc repro` first")
