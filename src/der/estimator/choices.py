"""What settings may choose by name, and the check that they choose what there is.

Only for those who see everything: a stage that imported this would have every registry in its fingerprint.
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from der.common.registry import check_imported, look_up
from der.data.sources.registry import SOURCES
from der.memory.selection import SELECTIONS
from der.model.backbones import BACKBONES, check_masks, choose_backbone
from der.model.head_initialization import HEAD_INITIALIZATIONS
from der.settings.experiment import Settings
from der.train.rebalancing.registry import REBALANCINGS

CHOICES: dict[str, Mapping[str, Any]] = {
    "dataset.source": SOURCES,
    "network.backbone": BACKBONES,
    "network.head_initialization": HEAD_INITIALIZATIONS,
    "train.incremental.rebalancing": REBALANCINGS,
    "memory.selection": SELECTIONS,
}


def check_choices(settings: Settings) -> None:
    """Raise UserError for a name that stands for nothing, or a network that its backbone cannot be."""
    for key, choices in CHOICES.items():
        look_up(choices, attrgetter(key)(settings), key)
    choose_backbone(settings.network)
    check_masks(settings.network, settings.train.masks)


def check_choices_imported(settings: Settings) -> None:
    """Raise UserError for a function of the user's own that has not been imported; see ``check_imported``."""
    for key in CHOICES:
        check_imported(attrgetter(key)(settings), key)
