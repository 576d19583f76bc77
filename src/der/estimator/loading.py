"""Reading a classifier: one that was saved, or what the pipeline's stages wrote."""

import os
from pathlib import Path

import torch

from der.core.errors import UserError, naming
from der.estimator.choices import check_choices_imported
from der.estimator.classifier import DERClassifier
from der.estimator.learning import CHECKPOINT
from der.estimator.storage import MODEL, Stored, read_model, read_pair
from der.settings.experiment import Settings, read_settings
from der.train.step_run import Listener


def load(
    path: str | Path,
    memory: str | Path | None = None,
    settings: Settings | None = None,
    *,
    device: str | None = None,
    callback: Listener | None = None,
) -> DERClassifier:
    """The classifier in ``path``, which predicts, evaluates and goes on learning.

    ``path`` is what ``save`` wrote, or a step's checkpoint directory of a pipeline, data/checkpoints/2. The
    latter goes with a ``memory`` directory and ``settings`` to go on with, by default those of the same
    project: data/memory/2 and params.yaml. Labels of a pipeline are text. ``device`` and ``callback`` are
    as of ``DERClassifier``.

    Modules of functions of one's own, module:function, are not imported for what a file says: import them
    before. Raises UserError naming what is missing, damaged, foreign, or does not go together.
    """
    directory = Path(path)
    with torch.inference_mode(False):  # whatever the caller is in: the network may go on learning elsewhere
        if (directory / MODEL).is_file():
            if memory is not None:
                raise UserError(f"memory: {directory} holds its own; leave the argument out")
            stored = read_model(directory)
        else:
            stored = _read_step(directory, memory, settings)
    if settings is not None:
        stored = stored._replace(settings=settings)
    else:
        with naming(directory):
            check_choices_imported(stored.settings)
    return DERClassifier.of(stored, device, callback)


def _read_step(directory: Path, memory: str | Path | None, settings: Settings | None) -> Stored:
    """A step of a pipeline, as of ``load``."""
    place = Path(os.path.abspath(directory))  # "." has no name
    if memory is None and place.name == CHECKPOINT and (place.parent / MODEL).is_file():
        raise UserError(f"{directory}: the checkpoint alone of a saved classifier; give {place.parent}")
    root = place.parent.parent.parent
    beside = root / "data" / "memory" / place.name if memory is None else Path(memory)
    return Stored(read_pair(directory, beside, "str"), settings or read_settings(root / "params.yaml"))
