"""Files of weights: one for each module of a checkpoint, and the one that the first extractor starts from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from der.core.errors import UserError
from der.core.randomness import Diverted
from der.model.backbones import COLOURS, choose_backbone
from der.model.timm import TimmExtractor, download, find_model, read_file
from der.settings.sections import PRETRAINED, NetworkSettings


def save_weights(module: nn.Module, path: Path) -> None:
    """Write parameters and buffers of ``module``; raises UserError for weights that are not finite."""
    tensors = tensors_of(module)
    if name := find_infinite(tensors):
        raise UserError(f"{path.name}: {name} is not finite after training; lower learning_rate")
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be written ({error})") from None


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of ``module`` by name, as files hold them.

    Those that layers share have a tensor for each, for safetensors takes no memory twice.
    """
    tensors: dict[str, Tensor] = {}
    places = set()
    for name, value in module.state_dict().items():
        tensor = value.detach().cpu().contiguous()
        tensors[name] = tensor.clone() if tensor.data_ptr() in places else tensor
        places.add(tensor.data_ptr())
    return tensors


def load_weights(module: nn.Module, path: Path, described_in: str) -> None:
    """Fill ``module``, of the network that the file ``described_in`` describes, with weights.

    Raises UserError naming the file if it holds none, those of another module, one that is not finite, or a
    variance below 0.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as weights ({error})") from None
    forms = [
        {name: (value.shape, value.dtype) for name, value in one.items()}
        for one in (found, module.state_dict())
    ]
    if forms[0] != forms[1]:
        raise UserError(
            f"{path}: not the weights of the network that {described_in} describes; train it again"
        )
    if name := find_infinite(found):
        raise UserError(f"{path}: {name} is not finite; train it again")
    if name := find_negative(found):
        raise UserError(f"{path}: {name}, a variance, is below 0; train it again")
    fill(module, found)


@torch.no_grad()
def fill(module: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Give ``module`` the values of the same names."""
    # Not load_state_dict: it wants a batch counter that our batch normalisations do not keep.
    for name, value in module.state_dict().items():
        value.copy_(found[name])


def find_infinite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that holds NaN or infinity."""
    return next((name for name, value in tensors.items() if not value.isfinite().all()), None)


def find_negative(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a variance of batch normalisation that holds a number below 0."""
    variances = {name: value for name, value in tensors.items() if name.endswith("running_var")}
    return next((name for name, value in variances.items() if (value < 0).any()), None)


@dataclass(frozen=True)
class Start:
    """Weights that the first extractor starts from, by the names that it gives them."""

    tensors: Mapping[str, Tensor]

    @cached_property
    def identity(self) -> str:
        """What the weights are known by, whatever file, format or name they came from."""
        return f"sha256:{hashlib.sha256(self.content()).hexdigest()}"

    def content(self) -> bytes:
        """The bytes of a safetensors file of them."""
        return save(dict(self.tensors))


def read_start(settings: NetworkSettings, weights: str) -> Start:
    """The ``weights`` that ``settings`` name, for their backbone: a file's, or timm's own, downloaded.

    Raises UserError if the file cannot be read, holds other weights than the backbone's, or nothing can be
    downloaded.
    """
    backbone, known = choose_backbone(settings), find_model(settings.backbone)
    with Diverted():
        extractor = backbone.build(COLOURS, None)
    assert isinstance(extractor, TimmExtractor)
    if weights == PRETRAINED:
        fill(extractor.model, download(known))
    else:
        fill(extractor.model, read_file(Path(weights), extractor.model, known))
    values = tensors_of(extractor)
    if name := find_infinite(values) or find_negative(values):
        raise UserError(
            f"network.weights: {weights}: {name} holds no weights, but infinity, NaN or a variance below 0"
        )
    return Start(values)


def begin(extractor: nn.Module, start: Start) -> None:
    """Give ``extractor`` the weights of ``start``; raises UserError if they are of another one."""
    expected = {name: value.shape for name, value in extractor.state_dict().items()}
    if {name: value.shape for name, value in start.tensors.items()} != expected:
        raise UserError(
            "network.weights: not of this network for images of these channels; write "
            f"dataset.channels: {COLOURS}"
        )
    fill(extractor, start.tensors)
