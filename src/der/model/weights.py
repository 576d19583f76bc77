"""Files of weights, one for each module of a checkpoint, and timm's models with their start weights.

A name "timm:<model>" makes an extractor of the model. timm is an extra and takes seconds to import, so it is
imported only when such a name is used.

# B batch, C channels, H and W pixels, D features
"""

import copy
import difflib
import math
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from der.core.errors import UserError
from der.core.files import digest
from der.core.randomness import Diverted, lending
from der.model.architecture import COLOURS, Normalization
from der.model.kernels.layers import fold_pairs
from der.settings.sections import PRETRAINED, NetworkSettings

Tuned = Literal["all", "last", "none"]
AROUND = "model."  # before the names of what an extractor holds, and of what Lightning saves
COUNTER = "num_batches_tracked"  # of batch normalisation, which extractors do without


def save_weights(module: nn.Module, path: Path) -> None:
    """Write parameters and buffers of ``module``; raises UserError for weights that are not finite."""
    tensors = tensors_of(module)
    if name := _find_infinite(tensors):
        raise UserError(f"{path.name}: {name} is not finite after training; lower learning_rate")
    path.write_bytes(save(tensors))  # save_file leaves a file that only its owner can read


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, as in files; shared ones twice, as safetensors requires."""
    tensors: dict[str, Tensor] = {}
    places = set()
    for name, value in module.state_dict().items():
        tensor = value.detach().cpu().contiguous()
        tensors[name] = tensor.clone() if tensor.data_ptr() in places else tensor
        places.add(tensor.data_ptr())
    return tensors


def load_weights(module: nn.Module, path: Path, described_in: str) -> None:
    """Load weights into ``module``, which ``described_in`` describes; raises UserError for other weights."""
    fill(module, check_weights(module, path, described_in))


def check_weights(module: nn.Module, path: Path, described_in: str) -> Mapping[str, Tensor]:
    """Read the weights of ``module``; raises UserError for others, in names, shapes or types."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as weights ({error})") from None
    if _forms(found) != _forms(module.state_dict()):
        network = f"the network that {described_in} describes"
        raise UserError(f"{path}: not the weights of {network}; train it again")
    return found


def _forms(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: (value.shape, value.dtype) for name, value in tensors.items()}


@torch.no_grad()
def fill(module: nn.Module, found: Mapping[str, Tensor]) -> None:
    # Not load_state_dict: it wants a batch counter that our batch normalisations do not keep.
    for name, value in module.state_dict().items():
        value.copy_(found[name])


def _find_infinite(tensors: Mapping[str, Tensor]) -> str | None:
    return next((name for name, value in tensors.items() if not value.isfinite().all()), None)


class TimmModel(NamedTuple):
    """Timm's facts about a model and its weights."""

    name: str
    side: int  # pixels of the images that its weights were trained on
    fixed_side: bool  # whether it takes no others
    has_weights: bool  # whether timm knows where any are
    normalization: Normalization  # of three channels


def find_model(backbone: str) -> TimmModel:
    """Find the model of "timm:<name>"; raises UserError, the key first, if there is none, or no timm."""
    try:
        import timm
    except ModuleNotFoundError as error:
        fault = f"{backbone} needs {error.name}, which is missing"
        raise UserError(f"backbone: {fault}; pip install 'der-pipeline[photos]'") from None
    name = backbone.partition(":")[2]
    try:
        configuration: Any = timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:  # no such model, or no such weights of it
        known = timm.list_models(pretrained=True) + timm.list_models()
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"write timm:{' or timm:'.join(close)}" if close else "write one of timm.list_models()"
        raise UserError(f"backbone: timm has no model {name!r}; {hint}") from None
    return TimmModel(
        name=name,
        side=configuration.input_size[-1],
        fixed_side=configuration.fixed_input_size,
        has_weights=bool(configuration.has_weights),
        normalization=Normalization(list(configuration.mean), list(configuration.std)),
    )


class TimmExtractor(nn.Module):
    """A model of timm without its classifier: its pooled features (B, D).

    Parts that are not ``tuned`` get no gradients and stay in evaluation mode. Layers compute in the dtype of
    the images as torch's autocast decides; parameters are always float32.
    """

    is_trunk = False  # a trunk leaves activations in the dtype of the images

    def __init__(self, model: Any, channels: int, known: TimmModel, tuned: Tuned) -> None:
        super().__init__()
        self.model, self.channels = model, channels
        self.features = int(getattr(model, "head_hidden_size", None) or model.num_features)
        self.side = known.side if known.fixed_side else None
        names = set(list_tuned(model, tuned, known.name))
        for name, value in model.named_parameters():
            value.requires_grad_(name in names)
        # Modules without trained parameters, with everything inside them, such as stochastic depth.
        own = [(module, [*module.parameters()]) for module in model.modules()]
        whole = [one for one, values in own if values and not any(value.requires_grad for value in values)]
        self.kept = [*dict.fromkeys(inner for one in whole for inner in one.modules())]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.side not in (None, x_BCHW.shape[-1]):
            takes = f"this model takes images of {self.side} pixels alone, not of {x_BCHW.shape[-1]}"
            raise UserError(f"network.backbone: {takes}; give images of {self.side}")
        if x_BCHW.dtype in (torch.float32, torch.float64):
            return self.model(x_BCHW)  # type: ignore[no-any-return]
        # No cache of cast weights: a captured step would keep those of its first batch.
        with torch.autocast(x_BCHW.device.type, x_BCHW.dtype, cache_enabled=False):
            found: Tensor = self.model(x_BCHW)
        return found.to(x_BCHW.dtype if self.is_trunk else torch.float32)

    def train(self, mode: bool = True) -> "TimmExtractor":
        super().train(mode)
        for module in self.kept:
            module.training = False
        return self

    def fold(self) -> None:
        """Fold batch normalisation, as in evaluation mode, into the convolutions where possible."""
        fold_pairs(self.model)


@torch.no_grad()
def split(extractor: nn.Module, side: int) -> tuple[nn.Module, nn.Module]:
    """Copy an extractor in two parts, trunk and tail; the tail begins with the first module that is tuned.

    Each part is the model with torch.nn.Identity in place of the modules of the other, in the order in which
    images of ``side`` pixels pass them. ``shares_trunk`` tells whether both together are the model.
    """
    assert isinstance(extractor, TimmExtractor)
    calls: list[nn.Module] = []
    inner = [*extractor.model.modules()]
    hooks = [one.register_forward_pre_hook(lambda module, _: calls.append(module)) for one in inner]
    extractor.eval()(_blank(extractor, side))
    for hook in hooks:
        hook.remove()
    places = {module: place for place, module in reversed([*enumerate(calls)])}
    start = min(places[one] for one in calls if _is_tuned(one))

    def cut(module: nn.Module, trunk: nn.Module, tail: nn.Module) -> None:
        for name, child in [*module.named_children()]:
            if min(places.get(one, math.inf) for one in child.modules()) >= start:
                setattr(trunk, name, nn.Identity())
            elif not any(map(_is_tuned, child.modules())):
                setattr(tail, name, nn.Identity())
            else:
                cut(child, getattr(trunk, name), getattr(tail, name))

    trunk, tail = copy.deepcopy(extractor), copy.deepcopy(extractor)
    cut(extractor.model, trunk.model, tail.model)
    trunk.is_trunk, tail.side = True, None
    return trunk, tail


def _is_tuned(module: nn.Module) -> bool:
    values = [value.requires_grad for value in module.parameters()]
    return bool(values) and all(values)


def _blank(extractor: TimmExtractor, side: int) -> Tensor:
    place = next(extractor.parameters()).device
    return torch.linspace(-2, 2, side**2 * extractor.channels, device=place).sin().view(1, -1, side, side)


@torch.no_grad()
def shares_trunk(extractor: nn.Module, side: int) -> bool:
    """Tell whether trunk and tail give the bits of ``extractor``; else each step keeps a whole extractor."""
    if not isinstance(extractor, TimmExtractor) or _is_tuned(extractor.model):
        return False
    try:
        trunk, tail = split(extractor, side)
        images = _blank(extractor, side)
        return torch.equal(tail(trunk(images)), extractor(images))
    except Exception:  # whatever a module raises for what another one should have changed
        return False


def build_timm(known: TimmModel, channels: int, tuned: Tuned) -> TimmExtractor:
    """Build an extractor for images of so many channels; its weights are torch's draws, to be replaced."""
    return TimmExtractor(_create(known.name, in_chans=channels), channels, known, tuned)


def draw_timm(extractor: nn.Module, known: TimmModel, generator: torch.Generator) -> None:
    """Draw all weights as timm does, in place, only from ``generator``."""
    assert isinstance(extractor, TimmExtractor)
    stream = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    with lending(stream, stream.device), torch.no_grad():  # timm draws from torch's own generator alone
        drawn = _create(known.name, in_chans=extractor.channels).state_dict()
        for name, value in extractor.state_dict().items():
            value.copy_(drawn[name.removeprefix(AROUND)])


def _create(name: str, **options: Any) -> Any:
    import timm

    model = timm.create_model(name, **{"num_classes": 0, **options})
    for module in [*model.modules()]:
        if isinstance(module, _BatchNorm):
            module.num_batches_tracked = None  # not used here, and it costs one kernel per layer and step
        for child, pool in module.named_children():
            if isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size in (1, (1, 1)):
                setattr(module, child, Mean())
    return model


def list_tuned(model: Any, tuned: Tuned, name: str) -> list[str]:
    """List the parameters that a step trains, by name; for "last" those from timm's last stage on."""
    names = [one for one, _ in model.named_parameters()]
    if tuned != "last":
        return names if tuned == "all" else []
    from timm.models import group_parameters

    try:
        matcher = model.group_matcher(coarse=True)
    except (AttributeError, AssertionError, NotImplementedError):
        raise UserError(f"network.tuned: timm:{name} does not tell its stages; write all or none") from None
    stage_of: dict[str, int] = group_parameters(model, matcher, reverse=True)
    staged = names
    if isinstance(matcher, dict):  # it leaves unmatched names to the end
        entries = [[(one, 0)] if isinstance(one, str) else one or [] for one in matcher.values()]
        patterns = [pattern for entry in entries for pattern, _ in entry]
        staged = [name for name in names if any(re.match(one, name) for one in patterns)]
    last = max(stage_of[name] for name in staged)
    return [name for name in names if stage_of[name] >= last]


def download(known: TimmModel) -> Mapping[str, Tensor]:
    """Get timm's weights of a model, from its client's cache or the network."""
    import timm

    try:
        with Diverted():
            model: nn.Module = timm.create_model(known.name, pretrained=True, num_classes=0)
    except Exception as error:  # timm's several clients raise different errors without a network
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"network.weights: those of timm:{known.name} cannot be downloaded ({reason}); load them where "
            "there is a network, and write the path of their file"
        ) from error
    return model.state_dict()


def read_file(path: Path, model: Any, known: TimmModel) -> Mapping[str, Tensor]:
    """Read the weights of ``model`` from a file by timm's loader and its filter of names; run nothing in it.

    Raises UserError unless all weights are there, and no others except a classifier's.
    """
    from timm.models import load_state_dict

    where = f"network.weights: {path}"
    translate = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", lambda found, _: found)
    try:
        found = load_state_dict(str(path), weights_only=True)
        found = translate({name.removeprefix(AROUND): value for name, value in found.items()}, model)
    except Exception as error:  # whatever reading a damaged file comes to: struct.error, KeyError, ...
        reason = str(error).partition("\n")[0]
        # For pickles and programs, torch's and timm's messages advise to run them: replace these.
        if not reason or isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
            reason = "not tensors alone, or not of torch.save; a file of safetensors ends in .safetensors"
        raise UserError(f"{where}: cannot be read as weights ({reason}); give another file") from None
    wanted = model.state_dict()
    wrong = [name for name, value in wanted.items() if _form(found.get(name)) != _form(value)]
    others = [name for name in found if name not in wanted and not name.endswith(COUNTER)]
    if others and not wrong:
        with Diverted():
            whole = _create(known.name, num_classes=1).state_dict()
        wrong = [name for name in others if name not in whole]
    if wrong:
        fault = f"not the weights of timm:{known.name}, as {wrong[0]} shows"
        raise UserError(f"{where}: {fault}; give a file of its state_dict()")
    return {name: found[name] for name in wanted}


def _form(value: Any) -> Any:
    """Return a tensor's shape, and whether its numbers have fractions; None for anything else."""
    return (value.shape, value.is_floating_point()) if isinstance(value, Tensor) else None


class Mean(nn.Module):
    """Replaces AdaptiveAvgPool2d to one pixel, whose backward pass is not deterministic on CUDA."""

    def forward(self, x_BDHW: Tensor) -> Tensor:
        return x_BDHW.mean((2, 3), keepdim=True)


class Start(NamedTuple):
    """Start weights of the first extractor, by its own names."""

    tensors: Mapping[str, Tensor]

    @property
    def identity(self) -> str:
        """The identity of the weights, whatever their file, format or name."""
        return f"sha256:{digest(self.content())}"

    def content(self) -> bytes:
        return save(dict(self.tensors))


def read_start(settings: NetworkSettings, weights: str) -> Start:
    """Read the start ``weights`` of a network of ``settings``, a file or timm's own; raises UserError."""
    known = find_model(settings.backbone)
    with Diverted():
        extractor = build_timm(known, COLOURS, settings.tuned)
    is_file, model = weights != PRETRAINED, extractor.model
    fill(model, read_file(Path(weights), model, known) if is_file else download(known))
    values = tensors_of(extractor)
    variances = {name: value for name, value in values.items() if name.endswith("running_var")}
    negative = next((name for name, value in variances.items() if (value < 0).any()), None)
    if name := _find_infinite(values) or negative:
        fault = f"{name} holds no weights, but infinity, NaN or a variance below 0"
        raise UserError(f"network.weights: {weights}: {fault}")
    return Start(values)


def begin(extractor: nn.Module, start: Start) -> None:
    """Copy the weights of ``start`` into ``extractor``; raises UserError if they do not fit."""
    if _forms(start.tensors) != _forms(extractor.state_dict()):
        fault = "not of this network for images of these channels"
        raise UserError(f"network.weights: {fault}; write dataset.channels: {COLOURS}")
    fill(extractor, start.tensors)
