"""Whether a finished run is of the parameters that params.yaml has now."""

from dataclasses import asdict

from der.common.errors import UserError
from der.common.files import read_json
from der.common.settings import Settings
from der.data.protocol import plan_steps
from stages.common.paths import PARAMS, checkpoint


def check_training(last: int, settings: Settings) -> None:
    """Raise UserError unless the checkpoint after step ``last`` was trained with ``settings``."""
    path = checkpoint(last) / "network.json"
    card = read_json(path)
    if not isinstance(card, dict) or not card.get("steps"):
        raise UserError(f"{path}: not of a trained network; run `dvc repro` first")
    names = sorted(name for step in card["steps"] for name in step)
    try:
        planned = plan_steps(names, settings.protocol)
    except UserError:  # the protocol is of other classes
        planned = []
    recipes = [asdict(settings.train.recipe(step)) for step in range(1, last + 1)]
    expected = [asdict(settings.network), recipes, planned]
    if [card.get("network"), card.get("recipes"), card["steps"]] != expected:
        raise UserError(f"{path}: trained with other parameters than {PARAMS} has; run `dvc repro` first")
