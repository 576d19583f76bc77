"""What the first extractor starts from, instead of random weights: those of a file, or the backbone's own."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from der.core.errors import UserError
from der.core.randomness import Diverted
from der.core.sealed import SealedDirectory, sealed_directory
from der.model.backbones import COLOURS, build_extractor
from der.model.files import START
from der.model.metadata import write_empty
from der.model.start_files import read_tensors
from der.model.start_heads import is_safetensors
from der.model.start_matching import match
from der.model.timm_models import find_model, import_timm, is_of_head
from der.model.weights import find_infinite, find_negative, tensors_of
from der.settings.sections import PRETRAINED, NetworkSettings


@dataclass(frozen=True)
class Start:
    """Weights of an extractor, by the names that it gives them."""

    tensors: Mapping[str, Tensor]

    @cached_property
    def identity(self) -> str:
        """What the weights are known by, whatever file, format or name they came from."""
        return identify(save(dict(self.tensors)))


def identify(content: bytes) -> str:
    """The identity of weights in a file's bytes, as of ``Start``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read_start(settings: NetworkSettings, weights: str) -> Start:
    """The ``weights`` that ``settings`` name, for their backbone.

    Raises UserError if the file cannot be read, holds other weights than the backbone's, or nothing can be
    downloaded.
    """
    extractor = build_extractor(settings, COLOURS)
    if weights == PRETRAINED:
        fill(extractor, download(settings.backbone))
    else:
        load(extractor, Path(weights), settings.backbone)
    return Start(tensors_of(extractor))


def download(backbone: str) -> Mapping[str, Tensor]:
    """The weights that timm has of a model, from its client's cache or the network."""
    timm, known = import_timm(backbone), find_model(backbone)
    try:
        with Diverted():
            model: nn.Module = timm.create_model(known.name, pretrained=True, num_classes=0)
    except Exception as error:  # whatever a client, of which there are several, raises without a network
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"network.weights: those of {backbone} cannot be downloaded ({reason}); load them where there is "
            "a network, and write the path of their file"
        ) from error
    return model.state_dict()


def load(extractor: nn.Module, path: Path, backbone: str) -> None:
    """Fill ``extractor`` with the weights in a file."""
    where = f"network.weights: {path}"
    found, expected = read_tensors(path, where), tensors_of(extractor)
    is_head = partial(is_of_head, find_model(backbone))
    ordered = not is_safetensors(path)  # which sorts by name
    fill(extractor, match(found, expected, is_head, f"{where}: {backbone}", ordered=ordered))
    values = tensors_of(extractor)
    if name := find_infinite(values) or find_negative(values):
        raise UserError(f"{where}: {name} holds no weights, but infinity, NaN or a variance below 0")


@torch.no_grad()
def fill(extractor: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Give ``extractor`` the values of the same names, which may lack the name of the module around them."""
    for name, value in extractor.state_dict().items():
        value.copy_(found[name] if name in found else found[name.removeprefix("model.")])


def begin(extractor: nn.Module, start: Start) -> None:
    """Give ``extractor`` the weights of ``start``; raises UserError if they are of another one."""
    expected = {name: value.shape for name, value in extractor.state_dict().items()}
    if {name: value.shape for name, value in start.tensors.items()} != expected:
        raise UserError(
            "network.weights: not of this network for images of these channels; write "
            f"dataset.channels: {COLOURS}"
        )
    fill(extractor, start.tensors)


def save_start(path: Path, start: Start) -> None:
    """The checkpoint directory before step 1: no extractor, no class, and what the first one starts from."""
    with sealed_directory(path) as directory:
        (directory / START).write_bytes(save(dict(start.tensors)))
        write_empty(directory)


def load_start(path: Path) -> Start | None:
    """What ``save_start`` wrote; raises DamageError if it is damaged."""
    directory = SealedDirectory(path)
    return Start(load_file(directory.file(START))) if START in directory.digests else None
