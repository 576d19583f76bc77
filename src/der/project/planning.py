"""The steps of the protocol in params.yaml, as far as they can be told before there are arrays of images."""

import os
import unicodedata
from pathlib import Path

from der.common.errors import UserError, naming
from der.data.protocol import plan_steps
from der.data.sources.registry import CLASSES
from der.data.sources.tree import is_ignored
from der.memory.budget import check_budget
from der.project.paths import PARAMS
from der.settings.dataset import DatasetSettings
from der.settings.experiment import Settings
from der.settings.protocol import ProtocolSettings


def planned_steps(settings: Settings) -> list[list[str]] | None:
    """Class names of every step, numbers in their place where only how many there are is known; else None.

    Raises UserError for images that are not there, a protocol that does not fit the classes, or a budget that
    is too small for them.
    """
    with naming(PARAMS):
        names = list_names(settings.dataset) or _names_in(settings.protocol) or _numbers_of(settings.dataset)
        if not names:
            return None
        steps = plan_steps(names, settings.protocol)
        check_budget(settings.memory, sum(map(len, steps)))
    return steps


def list_names(dataset: DatasetSettings) -> list[str]:
    """The classes of the digits, or of a directory of images; none where that is not so easily told."""
    if dataset.source == "digits":
        return _numbers_of(dataset)
    train = Path(dataset.path) / "train"
    if dataset.source != "folder" or not train.is_dir():
        return []
    with os.scandir(train) as found:
        folders = [item.name for item in found if item.is_dir() and not is_ignored(item.name)]
    return sorted({unicodedata.normalize("NFC", name) for name in folders})


def check_directory(dataset: DatasetSettings) -> None:
    """Raise UserError for a directory without classes: download would refuse it, with its output gone."""
    path = Path(dataset.path)
    if dataset.source != "folder" or not path.is_dir():
        return
    if not (path / "train").is_dir():
        raise UserError(f"{path}: has no folder train; put images into train/<class>/")
    if len(names := list_names(dataset)) < 2:
        raise UserError(f"{path}: has {len(names)} of the two classes that are needed; add train/<class>/")


def _names_in(protocol: ProtocolSettings) -> list[str]:
    """The classes that the protocol names, if it names all that it teaches."""
    listed = (
        protocol.class_order if protocol.steps is None else [name for step in protocol.steps for name in step]
    )
    names = listed if isinstance(listed, list) else []
    return sorted({name for name in names if isinstance(name, str)})


def _numbers_of(dataset: DatasetSettings) -> list[str]:
    return [str(number) for number in range(CLASSES.get(dataset.source, 0))]
