"""The steps of the protocol in params.yaml, as far as they can be told before there are arrays of images."""

from der.core.errors import UserError, naming
from der.data.arrays import check_budget
from der.data.protocol import plan_steps
from der.data.sources.registry import find_source
from der.pipeline.known_names import is_unchanged, names_read_last
from der.pipeline.paths import PARAMS
from der.settings.experiment import Settings
from der.settings.sections import ProtocolSettings


def planned_steps(settings: Settings) -> list[list[str]] | None:
    """Class names of every step; None if only the images tell.

    Raises UserError for images that are not there, a protocol that does not fit the classes, or a budget that
    is too small for them.
    """
    dataset = settings.dataset
    with naming(PARAMS):
        names = find_source(dataset).list_names(dataset)
    if not names and (read := names_read_last(dataset)):
        try:
            return _plan(read, settings)
        except UserError:
            if is_unchanged(dataset):
                raise
    names = names or _names_in(settings.protocol)
    return _plan(names, settings) if names else None


def _plan(names: list[str], settings: Settings) -> list[list[str]]:
    with naming(PARAMS):
        steps = plan_steps(names, settings.protocol)
        check_budget(settings.memory, sum(map(len, steps)))
    return steps


def _names_in(protocol: ProtocolSettings) -> list[str]:
    """The classes that the protocol names, if it names all that it teaches."""
    listed = (
        protocol.class_order if protocol.steps is None else [name for step in protocol.steps for name in step]
    )
    names = listed if isinstance(listed, list) else []
    return sorted({name for name in names if isinstance(name, str)})
