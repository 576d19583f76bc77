"""A checkpoint, a sealed directory: one safetensors file per extractor, one of the classifier, network.json.

The directory is self-contained. Frozen extractors of the previous checkpoint reappear as the same file
(a hard link where possible), so a cache that stores equal files once grows with T, not T squared. Before
step 1 the directory has no extractor and no class, only the start weights of the first extractor, if any.
network.json is read and written without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.files import SealedDirectory, link_or_copy, sealed_directory, write_array, write_json
from der.core.registry import check_imported
from der.model import architecture, backbones
from der.model.architecture import HEAD, MEANS, METADATA, START, TRUNK, Familiarity, Normalization, Shape
from der.settings import sections
from der.settings.parsing import parse

if TYPE_CHECKING:
    from torch import nn

    from der.model.network import Network
    from der.model.weights import Start

FORMAT = 2
EMPTY = {"format": FORMAT, "steps": []}  # what network.json holds before step 1
Array = NDArray[np.float32]
Resize = Literal["cover, centre-crop, bicubic"]
RESIZE: Resize = get_args(Resize)[0]


class Metadata(sections.Section, frozen=True, omit_defaults=True):
    """The facts that are needed to use a network, and results of its training."""

    format: int
    steps: list[list[str]]  # class names in label order, by the step that brought them
    image_side: sections.ImageSide
    channels: sections.Channels
    resize: Resize  # how other images are brought to the side
    normalization: Normalization
    network: sections.NetworkSettings
    recipes: list[sections.Recipe]  # of every step's training
    shapes: list[Shape | None]  # channels kept by each extractor; None: all
    parameters: int  # of all extractors and the classifier
    parameters_trained: int  # in the last step, the auxiliary classifier included
    gamma: float | None  # factor of the last weight alignment
    compressed: sections.CompressSettings | None = None  # how all extractors became one; None: they did not
    familiarity: Familiarity | None = None  # of images of a frozen network's classes

    @property
    def class_names(self) -> list[str]:
        return [name for step in self.steps for name in step]

    def taught(
        self, names: list[str], recipe: sections.Recipe, values: int, familiarity: Familiarity | None
    ) -> Metadata:
        """Describe a frozen network whose new classifier, of so many ``values``, also knows ``names``."""
        return replace(
            self,
            steps=[*self.steps, names],
            recipes=[*self.recipes, recipe],
            parameters=self.parameters - self.parameters_trained + values,
            parameters_trained=values,
            familiarity=familiarity,
        )


@dataclass(frozen=True)
class Checkpoint:
    """The network after a step, and its metadata."""

    network: Network
    metadata: Metadata
    means: Array | None = None  # normalised, of a frozen network's features of each class


def save_checkpoint(path: Path, checkpoint: Checkpoint, previous: Path | None = None) -> None:
    """Write ``checkpoint``; what its step did not train comes from ``previous``, if given: trunk, extractors.

    A step trains only the newest extractor. Raises UserError for weights that are not finite.
    """
    from der.model.weights import save_weights  # only now: torch costs seconds

    network = checkpoint.network
    files = {} if network.trunk is None else {TRUNK: network.trunk}
    files |= {architecture.extractor_file(step): one for step, one in enumerate(network.extractors, start=1)}
    frozen = [*files][:-1]
    # At step 1 there is no extractor, and its previous directory has no such file.
    digests = {} if previous is None or not frozen else SealedDirectory(previous).digests
    known = {name: digests[name] for name in frozen if name in digests}
    with sealed_directory(path, known) as directory:
        for name, module in files.items():
            if previous is not None and name in known:
                link_or_copy(previous / name, directory / name)
            else:
                save_weights(module, directory / name)
        save_weights(network.head, directory / HEAD)
        if checkpoint.means is not None:
            write_array(directory / MEANS, checkpoint.means)
        write_json(directory / METADATA, sections.to_values(checkpoint.metadata))


def save_classifier(
    path: Path, metadata: Metadata, weight: Array, bias: Array, means: Array, network: Path
) -> None:
    """Write the checkpoint of a frozen network, which is linked from ``network``, with a new classifier.

    It writes the same files as ``save_checkpoint``, without torch.
    """
    from safetensors.numpy import save

    name = architecture.extractor_file(1)
    with sealed_directory(path, {name: SealedDirectory(network).digests[name]}) as directory:
        link_or_copy(network / name, directory / name)
        (directory / HEAD).write_bytes(save({"bias": bias, "weight": weight}))
        write_array(directory / MEANS, means)
        write_json(directory / METADATA, sections.to_values(metadata))


def load_classifier(path: Path) -> tuple[Metadata, Array, Array]:
    """Read the description and the classifier of a checkpoint of the pipeline's own, without torch."""
    from safetensors.numpy import load

    sealed = SealedDirectory(path)
    metadata = parse(Metadata, sealed.read_json(METADATA), str(path / METADATA))
    head = load(sealed.file(HEAD).read_bytes())
    return metadata, head["weight"], head["bias"]


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the checkpoint of a step, on the CPU and in evaluation mode.

    Raises UserError naming a missing, damaged or foreign file, and for the directory of step 0.
    """
    checkpoint = load_previous(path)
    if checkpoint is None:
        raise UserError(f"{path}: the checkpoint before step 1, which knows no class; take that of a step")
    return checkpoint


def load_previous(path: Path) -> Checkpoint | None:
    """Like ``load_checkpoint``, but return None for the directory of step 0."""
    if not (path / METADATA).is_file():
        raise UserError(f"{path}: no DER checkpoint, a directory with {METADATA}")
    sealed = SealedDirectory(path)
    metadata = read_metadata(sealed)
    if metadata is None:
        return None
    # Only now: torch costs seconds.
    import torch

    from der.model.network import Extractor, Network, blank_linear, build_extractor
    from der.model.weights import check_weights, load_weights, split

    shares = metadata.network.tuned == "last" and TRUNK in sealed.digests

    def build(shape: Shape | None) -> tuple[nn.Module | None, nn.Module]:
        whole = build_extractor(metadata.network, metadata.channels, shape)
        return split(whole, metadata.image_side) if shares else (None, whole)

    if metadata.network.backbone.startswith("timm:"):
        with torch.device("meta"):  # a stranger's file may name a giant without having its weights
            described = build(metadata.shapes[0])
        for name, module in zip((TRUNK, architecture.extractor_file(1)), described, strict=True):
            if module is not None:
                check_weights(module, sealed.file(name), METADATA)
    trunk: nn.Module | None = None
    extractors: list[Extractor] = []
    for index, shape in enumerate(metadata.shapes, start=1):
        trunk, extractor = build(shape)
        load_weights(extractor, sealed.file(architecture.extractor_file(index)), METADATA)
        extractors.append(cast(Extractor, extractor))
    if trunk is not None:
        load_weights(trunk, sealed.file(TRUNK), METADATA)
    features = sum(extractor.features for extractor in extractors)
    head = blank_linear(features, len(metadata.class_names), metadata.network.head_bias)
    load_weights(head, sealed.file(HEAD), METADATA)
    means = sealed.read_array(MEANS) if MEANS in sealed.digests else None
    return Checkpoint(Network(extractors, head, trunk).eval(), metadata, means)


def check_classes(path: Path, metadata: Metadata | None, steps: list[list[str]]) -> None:
    """Raise UserError, naming ``path``, unless its checkpoint's classes arrived in ``steps``."""
    if ([] if metadata is None else metadata.steps) != steps:
        raise UserError(f"{path}: of other classes than the protocol's; train its step again")


def read_metadata(checkpoint: SealedDirectory) -> Metadata | None:
    """Read network.json, None for step 0; raises UserError naming a damaged or foreign file."""
    where, content = checkpoint.path / METADATA, checkpoint.read_json(METADATA)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{where}: not a DER checkpoint of format {FORMAT}; train it again")
    if content == EMPTY:
        return None
    metadata = parse(Metadata, content, str(where))
    # Checkpoints come from strangers, too: a user-defined backbone must have been imported.
    check_imported(metadata.network.backbone, f"{where}.network.backbone")
    backbones.choose_backbone(metadata.network, f"{where}.network")
    return metadata


def save_empty_checkpoint(path: Path, start: Start | None = None) -> None:
    """Write the checkpoint directory of step 0: no extractor, no class, and the first extractor's start."""
    with sealed_directory(path) as directory:
        if start is not None:
            (directory / START).write_bytes(start.content())
        write_json(directory / METADATA, EMPTY)


def load_start(path: Path) -> Start | None:
    """Read the start weights of the first extractor from the directory of step 0; None: random weights."""
    directory = SealedDirectory(path)
    if START not in directory.digests:
        return None
    from safetensors.torch import load_file

    from der.model.weights import Start

    return Start(load_file(directory.file(START)))
