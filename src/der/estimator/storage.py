"""A classifier on disk: checkpoint and memory as the stages write them, and the settings to go on with."""

from pathlib import Path
from typing import NamedTuple

from der.common.errors import UserError
from der.common.sealed import MANIFEST, SealedDirectory, sealed_directory
from der.common.serialization import write_json
from der.data.exemplars import load_memory
from der.estimator.arrays import LabelKind
from der.estimator.learning import CHECKPOINT, MEMORY, Learned, save_learned
from der.model.checkpoint import load_checkpoint
from der.settings.experiment import Settings
from der.settings.parsing import parse
from der.settings.section import Section, to_values

MODEL = "model.json"
FORMAT = 1
OWN = {MODEL, MANIFEST, CHECKPOINT, MEMORY}  # all that a saved classifier is made of


class Model(Section, frozen=True):
    """The content of model.json."""

    format: int
    labels: LabelKind
    settings: Settings


class Stored(NamedTuple):
    """What a directory held."""

    learned: Learned
    settings: Settings


def write_model(path: Path, stored: Stored) -> None:
    """Make the directory ``path``; raises UserError if something else than a saved classifier is there."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path}: is no directory; give another name")
    if path.is_dir() and not {one.name for one in path.iterdir()} <= OWN:
        raise UserError(f"{path}: holds other files than a saved classifier; give another directory")
    with sealed_directory(path) as directory:
        save_learned(directory, stored.learned)
        model = Model(FORMAT, stored.learned.kind, stored.settings)
        write_json(directory / MODEL, to_values(model))


def read_model(path: Path) -> Stored:
    """Read what ``write_model`` wrote; raises UserError naming what is missing, damaged or foreign."""
    if not (path / MODEL).is_file():
        raise UserError(f"{path}: no saved classifier, a directory with {MODEL}")
    content = SealedDirectory(path).read_json(MODEL)
    where = f"{path / MODEL}"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{where}: not a classifier of format {FORMAT}; teach and save it again")
    model = parse(Model, content, where)
    return Stored(read_pair(path / CHECKPOINT, path / MEMORY, model.labels), model.settings)


def read_pair(checkpoint: Path, memory: Path, kind: LabelKind) -> Learned:
    """A step's checkpoint and memory directories; raises UserError if they are of different steps."""
    learned = Learned(load_checkpoint(checkpoint), load_memory(memory), kind)
    classes, metadata = len(learned.memory.class_means), learned.checkpoint.metadata
    side, channels = metadata.image_side, metadata.channels
    if classes != len(metadata.class_names) or learned.memory.images.shape[1:] != (side, side, channels):
        raise UserError(f"{memory}: the memory of another step than {checkpoint}; give that of the same")
    return learned
