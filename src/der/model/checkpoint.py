"""A checkpoint directory: one safetensors file per extractor, one for the classifier, and network.json.

The directory is self-contained. Frozen extractors of the previous checkpoint reappear as the same file
(a hard link where possible), so a cache that stores equal files once grows with T, not T squared.
network.json also records the SHA-256 of every file of weights, under "digests": extractors, then classifier.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from der.common.atomic import atomic_directory
from der.common.errors import UserError
from der.common.filesystem import link_or_copy
from der.common.serialization import read_json, write_json
from der.model.network import Network, blank_linear, count_parameters, empty_network
from der.model.preprocessing import Normalization
from der.model.resnet import ResNet, Shape, architecture, build_extractor, keeps_part_of
from der.settings.network import NetworkSettings
from der.settings.parsing import parse
from der.settings.ranges import Range, Section
from der.settings.training import Recipe

FORMAT = 1
CARD, HEAD = "network.json", "head.safetensors"


@dataclass(frozen=True)
class Metadata(Section):
    """network.json: what is needed to use the network, and what its training found."""

    format: int
    steps: list[list[str]]  # class names in label order, by the step that brought them
    image_side: Annotated[int, Range(8, 1024)]  # pixels
    channels: Literal[1, 3]
    resize: Literal["cover, centre-crop, bicubic"]  # how other images are brought to the side
    normalization: Normalization
    network: NetworkSettings
    recipes: list[Recipe]  # of every step's training
    shapes: list[Shape | None]  # channels kept by each extractor; None: all
    parameters: int  # of all extractors and the classifier
    parameters_trained: int  # in the last step, the auxiliary classifier included
    gamma: float | None  # factor of the last weight alignment

    def __post_init__(self) -> None:
        super().__post_init__()
        names, extractors = self.class_names, len(self.steps) if self.network.expansion else 1
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


@dataclass(frozen=True)
class Checkpoint:
    """A network with its card; ``card`` is None before step 1."""

    network: Network
    card: Metadata | None


def save_empty_checkpoint(path: Path) -> None:
    """The checkpoint before step 1: no extractor, no class."""
    with atomic_directory(path) as directory:
        write_json(directory / CARD, {"format": FORMAT, "steps": []})


def save_checkpoint(path: Path, checkpoint: Checkpoint, previous: Path) -> None:
    """Write ``checkpoint``; all extractors but the newest are taken from the directory ``previous``.

    Raises UserError for weights that are not finite.
    """
    assert checkpoint.card is not None
    extractors = checkpoint.network.extractors
    frozen = len(extractors) - 1
    digests = read_json(previous / CARD)["digests"][:frozen] if frozen > 0 else []
    with atomic_directory(path) as directory:
        for number in range(1, frozen + 1):
            link_or_copy(previous / extractor_name(number), directory / extractor_name(number))
        for module, name in ((extractors[-1], extractor_name(frozen + 1)), (checkpoint.network.head, HEAD)):
            _save(module, directory / name)
            digests.append(_digest(directory / name))
        write_json(directory / CARD, {**asdict(checkpoint.card), "digests": digests})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint on the CPU; raises UserError naming the file that is missing, damaged or foreign."""
    where = path / CARD
    if not where.is_file():
        raise UserError(f"{path}: no DER checkpoint, a directory with {CARD}")
    content = read_json(where)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{where}: not a DER checkpoint of format {FORMAT}; train it again")
    if content.get("steps") == []:
        return Checkpoint(empty_network(), None)
    digests = content.pop("digests", None)
    card = parse(Metadata, content, str(where))
    if not isinstance(digests, list) or len(digests) != len(card.shapes) + 1:
        raise UserError(f"{where}.digests: not one of each extractor and the classifier; train it again")
    extractors: list[ResNet] = []
    features = 0
    whole = architecture(card.network).full_shape()
    for number, shape in enumerate(card.shapes, start=1):
        if shape is not None and not keeps_part_of(shape, whole):
            raise UserError(f"{where}.shapes[{number - 1}]: not channels of this network; train it again")
        extractor = build_extractor(card.network, card.channels, shape)
        _load(extractor, path / extractor_name(number), digests[number - 1])
        extractors.append(extractor)
        features += extractor.features
    head = blank_linear(features, len(card.class_names), card.network.head_bias)
    _load(head, path / HEAD, digests[-1])
    network = Network(extractors, head)
    if count_parameters(network) != card.parameters:
        raise UserError(f"{path}: the network does not have the {card.parameters} parameters it records")
    return Checkpoint(network.eval(), card)


def check_classes(path: Path, checkpoint: Checkpoint, steps: list[list[str]]) -> None:
    """Raise UserError, naming ``path``, unless the checkpoint's classes came in ``steps``."""
    if (checkpoint.card.steps if checkpoint.card else []) != steps:
        raise UserError(f"{path}: of other classes than the protocol's; run `dvc repro`")


def extractor_name(number: int) -> str:
    """File name of extractor ``number``, counted from 1."""
    return f"extractor_{number}.safetensors"


def _save(module: nn.Module, path: Path) -> None:
    tensors: dict[str, Any] = {
        name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()
    }
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise UserError(f"{path.name}: {name} is not finite after training; lower learning_rate")
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be written ({error})") from None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@torch.no_grad()
def _load(module: nn.Module, path: Path, digest: str) -> None:
    # Not load_state_dict: it wants a batch counter that these batch normalisations do not keep.
    expected = module.state_dict()
    try:
        if _digest(path) != digest:
            raise UserError(f"{path}: not the file that {CARD} records; copy it again, or train it again")
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as weights ({error})") from None
    forms = [{name: (value.shape, value.dtype) for name, value in one.items()} for one in (found, expected)]
    if forms[0] != forms[1]:
        raise UserError(f"{path}: not the weights of the network that network.json describes")
    for name, value in expected.items():
        value.copy_(found[name])
