"""network.json: what a checkpoint directory says of its network.

No torch is needed to read or write it.
"""

from pathlib import Path
from typing import Literal, get_args

from der.core.errors import UserError
from der.core.files import write_json
from der.core.registry import check_imported
from der.core.sealed import SealedDirectory, sealed_directory
from der.model.architecture import Shape, keeps_part_of
from der.model.backbones import choose_backbone
from der.model.files import METADATA
from der.model.pixel_statistics import Normalization
from der.settings.parsing import parse
from der.settings.sections import Channels, ImageSide, NetworkSettings, Section, to_values
from der.settings.training import Recipe

FORMAT = 2
Resize = Literal["cover, centre-crop, bicubic"]
RESIZE: Resize = get_args(Resize)[0]


class Metadata(Section, frozen=True):
    """What is needed to use a network, and what its training found."""

    format: int
    steps: list[list[str]]  # class names in label order, by the step that brought them
    image_side: ImageSide
    channels: Channels
    resize: Resize  # how other images are brought to the side
    normalization: Normalization
    network: NetworkSettings
    recipes: list[Recipe]  # of every step's training
    shapes: list[Shape | None]  # channels kept by each extractor; None: all
    parameters: int  # of all extractors and the classifier
    parameters_trained: int  # in the last step, the auxiliary classifier included
    gamma: float | None  # factor of the last weight alignment

    def __post_init__(self) -> None:
        names, extractors = self.class_names, len(self.steps) if self.network.grows else 1
        counts = {
            "steps": (len(set(names)), len(names)),
            "recipes": (len(self.recipes), len(self.steps)),
            "shapes": (len(self.shapes), extractors),
            "normalization": (len(self.normalization.mean), self.channels),
            "normalization.std": (len(self.normalization.std), self.channels),
        }
        for name, (found, expected) in counts.items():
            if found != expected:
                raise UserError(f"{name}: {found} different entries where {expected} belong; train it again")

    @property
    def class_names(self) -> list[str]:
        """All class names in label order."""
        return [name for step in self.steps for name in step]


def write_metadata(directory: Path, metadata: Metadata) -> None:
    """Write network.json into a checkpoint directory that is being made."""
    write_json(directory / METADATA, to_values(metadata))


def open_checkpoint(directory: Path) -> SealedDirectory:
    """A checkpoint directory's files; raises UserError if it is none, DamageError if it is damaged."""
    if not (directory / METADATA).is_file():
        raise UserError(f"{directory}: no DER checkpoint, a directory with {METADATA}")
    return SealedDirectory(directory)


def read_metadata(checkpoint: SealedDirectory) -> Metadata | None:
    """The content of network.json; None if it is that of before step 1.

    Raises UserError naming what is damaged or foreign.
    """
    where = checkpoint.path / METADATA
    content = checkpoint.read_json(METADATA)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{where}: not a DER checkpoint of format {FORMAT}; train it again")
    if content.get("steps") == []:
        return None
    metadata = parse(Metadata, content, str(where))
    check_shapes(metadata, str(where))
    return metadata


def check_shapes(metadata: Metadata, where: str) -> None:
    """Raise UserError, ``where`` first, if there is no such backbone or it has not the channels recorded.

    A backbone of the user's own must have been imported: checkpoints come from strangers, too.
    """
    check_imported(metadata.network.backbone, f"{where}.network.backbone")
    whole = choose_backbone(metadata.network, f"{where}.network").full_shape
    for index, shape in enumerate(metadata.shapes):
        if shape is not None and (whole is None or not keeps_part_of(shape, whole)):
            raise UserError(f"{where}.shapes[{index}]: not channels of this network; train it again")


def save_empty_checkpoint(path: Path) -> None:
    """The checkpoint directory before step 1: no extractor, no class."""
    with sealed_directory(path) as directory:
        write_empty(directory)


def write_empty(directory: Path) -> None:
    """Write the network.json of before step 1 into a checkpoint directory that is being made."""
    write_json(directory / METADATA, {"format": FORMAT, "steps": []})
