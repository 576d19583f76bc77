"""The file of weights that network.weights names: whether it is one, and whether DVC sees an edit of it."""

import os
from pathlib import Path
from typing import TypeGuard

from der.core.errors import UserError, naming
from der.pipeline.paths import GRAPH, PARAMS, WEIGHTS, read_stages
from der.settings.sections import PRETRAINED, NetworkSettings

STAGE = "initialize"  # which reads them


def names_file(weights: str | None) -> TypeGuard[str]:
    """Whether network.weights names a file."""
    return weights not in (None, PRETRAINED)


def check_weights(settings: NetworkSettings) -> None:
    """Raise UserError for a file of other weights than the backbone's, or of which DVC would not see an edit.

    The file is read whole.
    """
    if not names_file(settings.weights):
        return
    path = Path(settings.weights)
    if not path.is_file():
        raise UserError(
            f"{PARAMS}: network.weights: there is no file {path}; put one into {WEIGHTS} and write its path, "
            f"or {PRETRAINED}, or null"
        )
    watched = [Path(os.path.abspath(dep)) for dep in read_stages()[STAGE]["deps"]]
    if not any(Path(os.path.abspath(path)).is_relative_to(place) for place in watched):
        raise UserError(
            f"{PARAMS}: network.weights: DVC would not see an edit of {path}; put it, or a link to it, into "
            f"{WEIGHTS}, or add it to the deps of stage {STAGE} in {GRAPH}: - {path}"
        )
    from der.model.weights import read_start  # only now: torch costs seconds

    with naming(PARAMS):
        read_start(settings, settings.weights)
