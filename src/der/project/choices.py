"""What params.yaml may choose by name, and the check that it chooses what there is.

Only for those who see everything: a stage that imported this would have every registry in its fingerprint.
"""

from collections.abc import Mapping
from typing import Any

from der.common.errors import UserError
from der.common.registry import look_up
from der.data.sources.registry import SOURCES
from der.memory.selection import SELECTIONS
from der.model.backbones import BACKBONES, check_masks, choose_backbone
from der.model.head_initialization import HEAD_INITIALIZATIONS
from der.project.changes import value_at
from der.project.paths import PARAMS
from der.settings.experiment import Settings
from der.settings.section import to_values
from der.train.rebalancing.registry import REBALANCINGS

CHOICES: dict[str, Mapping[str, Any]] = {
    "dataset.source": SOURCES,
    "network.backbone": BACKBONES,
    "network.head_initialization": HEAD_INITIALIZATIONS,
    "train.incremental.rebalancing": REBALANCINGS,
    "memory.selection": SELECTIONS,
}


def check_choices(settings: Settings) -> None:
    """Raise UserError for a name that is in no registry, or a network that its backbone cannot be."""
    values = to_values(settings)
    try:
        for key, choices in CHOICES.items():
            look_up(choices, value_at(values, key), key)
        choose_backbone(settings.network)
        check_masks(settings.network, settings.train.masks)
    except UserError as error:
        raise UserError(f"{PARAMS}: {error}") from None
