"""Whether a finished run is of the parameters that params.yaml has now."""

from typing import Any

from der.common.errors import UserError
from der.common.sealed import SealedDirectory
from der.data.protocol import plan_steps
from der.project.paths import PARAMS, checkpoint
from der.settings.experiment import Settings
from der.settings.section import to_values

METADATA = "network.json"


def check_training(last: int, settings: Settings) -> None:
    """Raise UserError unless the checkpoint after the ``last`` step was trained with ``settings``."""
    card = check_recipes(last, settings)
    try:
        planned = plan_steps(sorted(name for step in card["steps"] for name in step), settings.protocol)
    except UserError:  # the protocol is of other classes
        planned = []
    if card["steps"] != planned:
        raise _other(last)


def check_recipes(step: int, settings: Settings) -> dict[str, Any]:
    """The content of network.json after ``step``; raises UserError if its training had other parameters."""
    card = SealedDirectory(checkpoint(step)).read_json(METADATA)
    if not isinstance(card, dict) or not card.get("steps"):
        raise UserError(f"{checkpoint(step) / METADATA}: not of a trained network; run `dvc repro` first")
    recipes = [to_values(settings.train.recipe(number)) for number in range(1, step + 1)]
    if [card.get("network"), card.get("recipes")] != [to_values(settings.network), recipes]:
        raise _other(step)
    return card


def _other(step: int) -> UserError:
    path = checkpoint(step) / METADATA
    return UserError(f"{path}: trained with other parameters than {PARAMS} has; run `dvc repro` first")
