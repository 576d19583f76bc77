"""A checkpoint, a sealed directory: one safetensors file per extractor, one of the classifier, network.json.

The directory is self-contained. Frozen extractors of the previous checkpoint reappear as the same file
(a hard link where possible), so a cache that stores equal files once grows with T, not T squared.
"""

from dataclasses import dataclass
from pathlib import Path

from der.core.errors import UserError
from der.core.files import link_or_copy
from der.core.sealed import SealedDirectory, sealed_directory
from der.model.backbones import build_extractor
from der.model.extractor import Extractor
from der.model.files import HEAD, METADATA, extractor_file
from der.model.metadata import Metadata, open_checkpoint, read_metadata, write_metadata
from der.model.network import Network, blank_linear, count_parameters
from der.model.weights import load_weights, save_weights


@dataclass(frozen=True)
class Checkpoint:
    """The network after a step, and what there is to know of it."""

    network: Network
    metadata: Metadata


def save_checkpoint(path: Path, checkpoint: Checkpoint, previous: Path | None = None) -> None:
    """Write ``checkpoint``; extractors that its step did not train come from ``previous``, if given.

    Those are all but the newest, and that one, too, where the classifier alone learned. Raises UserError for
    weights that are not finite.
    """
    files = {extractor_file(k): one for k, one in enumerate(checkpoint.network.extractors, start=1)}
    frozen = [*files] if checkpoint.metadata.network.tuned == "none" else [*files][:-1]
    known = {} if previous is None else _frozen_digests(previous, frozen)
    with sealed_directory(path, known) as directory:
        for name, extractor in files.items():
            if previous is not None and name in known:
                link_or_copy(previous / name, directory / name)
            else:
                save_weights(extractor, directory / name)
        save_weights(checkpoint.network.head, directory / HEAD)
        write_metadata(directory, checkpoint.metadata)


def _frozen_digests(previous: Path, names: list[str]) -> dict[str, str]:
    digests = SealedDirectory(previous).digests if names else {}
    return {name: digests[name] for name in names if name in digests}  # at step 1 there is none


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the checkpoint of a step, on the CPU and in evaluation mode.

    Raises UserError naming the file that is missing, damaged or foreign, and for what is before step 1.
    """
    checkpoint = load_previous(path)
    if checkpoint is None:
        raise UserError(f"{path}: the checkpoint before step 1, which knows no class; take that of a step")
    return checkpoint


def load_previous(path: Path) -> Checkpoint | None:
    """As ``load_checkpoint``; None for the directory of before step 1."""
    sealed = open_checkpoint(path)
    metadata = read_metadata(sealed)
    if metadata is None:
        return None
    extractors: list[Extractor] = []
    for index, shape in enumerate(metadata.shapes, start=1):
        extractor = build_extractor(metadata.network, metadata.channels, shape)
        load_weights(extractor, sealed.file(extractor_file(index)), METADATA)
        extractors.append(extractor)
    features = sum(extractor.features for extractor in extractors)
    head = blank_linear(features, len(metadata.class_names), metadata.network.head_bias)
    load_weights(head, sealed.file(HEAD), METADATA)
    network = Network(extractors, head)
    if count_parameters(network) != metadata.parameters:
        raise UserError(f"{path}: the network does not have the {metadata.parameters} parameters it records")
    return Checkpoint(network.eval(), metadata)


def check_classes(path: Path, checkpoint: Checkpoint | None, steps: list[list[str]]) -> None:
    """Raise UserError, naming ``path``, unless the checkpoint's classes came in ``steps``."""
    if ([] if checkpoint is None else checkpoint.metadata.steps) != steps:
        raise UserError(f"{path}: of other classes than the protocol's; train its step again")
