"""timm's models, by the name behind "timm:": which there are, and what is known of each.

timm is an extra, and importing it costs seconds: it is imported where a name of its models is met.
"""

import difflib
from collections.abc import Set
from functools import cache
from typing import Any, NamedTuple

from der.core.errors import UserError
from der.model.pixel_statistics import Normalization


class TimmModel(NamedTuple):
    """What timm says of a model and its weights."""

    name: str
    side: int  # pixels of the images that its weights were trained on
    fixed_side: bool  # whether it takes no others
    has_weights: bool  # whether timm knows where any are
    normalization: Normalization  # of three channels
    classifier: tuple[str, ...]  # its modules that are no part of the extractor


def find_model(backbone: str) -> TimmModel:
    """The model that ``backbone``, "timm:<name>", names.

    Raises UserError, the key first, if timm is not installed or has no such model.
    """
    name = backbone.partition(":")[2]
    configuration = _read_configuration(name, import_timm(backbone))
    classifier = configuration.classifier
    return TimmModel(
        name=name,
        side=configuration.input_size[-1],
        fixed_side=configuration.fixed_input_size,
        has_weights=bool(configuration.has_weights),
        normalization=Normalization(list(configuration.mean), list(configuration.std)),
        classifier=(classifier,) if isinstance(classifier, str) else tuple(classifier or ()),
    )


def is_of_head(model: TimmModel, name: str) -> bool:
    """Whether a tensor of that name belongs to a part of the model that is no part of the extractor.

    Some heads have more than the classifier, which only the whole model tells.
    """
    return name.startswith(tuple(f"{one}." for one in model.classifier)) or name in _names_of(model.name)


@cache
def _names_of(name: str) -> Set[str]:
    import timm

    from der.core.randomness import Diverted  # which imports torch, as timm does

    with Diverted():
        return timm.create_model(name).state_dict().keys()  # type: ignore[no-any-return]


def import_timm(backbone: str) -> Any:
    """The package; raises UserError, the key first, if it is not installed."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise UserError(
            f"backbone: {backbone} needs {error.name}, which is missing; pip install 'der-pipeline[photos]'"
        ) from None
    return timm


def _read_configuration(name: str, timm: Any) -> Any:
    try:
        return timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:  # no such model, or no such weights of it
        known = timm.list_models(pretrained=True) + timm.list_models()
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"write timm:{' or timm:'.join(close)}" if close else "write one of timm.list_models()"
        raise UserError(f"backbone: timm has no model {name!r}; {hint}") from None
