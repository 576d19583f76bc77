"""A classifier on disk: checkpoint and memory as the stages write them, and the settings to go on with."""

import os
from pathlib import Path
from typing import NamedTuple

from der.core.atomic import ASIDE, PARTIAL
from der.core.errors import DamageError, UserError
from der.core.sealed import MANIFEST, SealedDirectory, sealed_directory
from der.core.serialization import write_json
from der.data.exemplars import load_memory
from der.estimator.arrays import LabelKind
from der.estimator.learning import CHECKPOINT, MEMORY, Learned, save_learned
from der.model.checkpoint import load_checkpoint
from der.settings.experiment import Settings
from der.settings.parsing import parse
from der.settings.sections import Section, to_values

MODEL = "model.json"
FORMAT = 1
OWN = {MODEL, MANIFEST, CHECKPOINT, MEMORY}  # all that a saved classifier is made of, at its top


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
    if path.name in ("", "..") or Path.cwd().is_relative_to(path.resolve()):
        raise UserError(f"{os.fspath(path)!r}: is no name of a new directory; give one, as 'model'")
    try:
        check_replaceable(path)
        with sealed_directory(path) as directory:
            save_learned(directory, stored.learned)
            model = Model(FORMAT, stored.learned.kind, stored.settings)
            write_json(directory / MODEL, to_values(model))
    except OSError as error:  # a full disk, a missing permission
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); give a directory that can be") from None


def check_replaceable(path: Path) -> None:
    """Raise UserError unless ``path`` is free, empty or a saved classifier, and names beside it are free.

    Those are used while it is written, and may have been left by a kill.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path}: is no directory; give another name")
    if path.is_dir() and any(path.iterdir()) and not is_saved(path):
        raise UserError(f"{path}: holds other files than a saved classifier; give another directory")
    partial, aside = (path.with_name(path.name + suffix) for suffix in (PARTIAL, ASIDE))
    if os.path.lexists(partial) and not is_half_written(partial):
        raise UserError(f"{partial}: is somebody's, and would be in the way; move it, or give another name")
    if os.path.lexists(aside) and not is_saved(aside):
        raise UserError(f"{aside}: is somebody's, and would be in the way; move it, or give another name")


def is_saved(path: Path) -> bool:
    """Whether ``path`` is a directory of a saved classifier, and holds nothing but its files."""
    try:
        listed = SealedDirectory(path).digests
    except DamageError:
        return False
    inner = [part.as_posix() for name in listed for part in Path(name).parents[:-1]]
    found = {one.relative_to(path).as_posix() for one in path.rglob("*")}
    return not path.is_symlink() and MODEL in listed and found == {MANIFEST, *listed, *inner}


def is_half_written(path: Path) -> bool:
    """Whether ``path`` can be what a kill left of a classifier that was being saved."""
    names = OWN | {name + PARTIAL for name in OWN}
    return path.is_dir() and not path.is_symlink() and {one.name for one in path.iterdir()} <= names


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
    loaded = load_checkpoint(checkpoint)
    if not memory.is_dir():
        raise UserError(
            f"{memory}: there is no memory of the step in {checkpoint}; give its directory, or take "
            "der.load_predictor, which needs none"
        )
    learned = Learned(loaded, load_memory(memory), kind)
    classes, metadata = len(learned.memory.class_means), learned.checkpoint.metadata
    side, channels = metadata.image_side, metadata.channels
    if classes != len(metadata.class_names) or learned.memory.images.shape != (side, side, channels):
        raise UserError(f"{memory}: the memory of another step than {checkpoint}; give that of the same")
    return learned
