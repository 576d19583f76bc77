"""The expandable network (DER, section 3.1): extractors side by side, and a classifier over their features.

It also has forward passes over many images, without gradients and with folded networks.

# N images, B batch, C channels of an image or classes seen, H and W pixels, D features, t extractors
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from der.core import distributed, files, randomness, registry
from der.core.errors import UserError
from der.model import architecture, backbones, resnet, weights
from der.model.kernels.layers import ConvNorm
from der.settings.sections import NetworkSettings

M = TypeVar("M", bound=nn.Module)
TRIED = 2  # images
# Modules of torch that never draw from its own generators.
DRAWLESS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.Identity, nn.MaxPool2d, nn.Sequential, nn.ModuleList)


class Extractor(nn.Module):
    """Computes features (B, D) of normalised images (B, channels, H, W), or of a trunk's outputs.

    Any module with these members can be an extractor, also of another class:
    - ``forward``: inputs in the dtype that train.precision names, to features (B, D) in float32;
    - ``features``: D, a whole number.
    Its parameters and buffers, except counters of batches, are float32.
    """

    features: int


class Network(nn.Module):
    """H_t(Phi_t(x)) of DER, section 3.2: super-feature extractor, then a linear classifier.

    Layers that no step trains are the same in all extractors: they may be one ``trunk`` before these.
    """

    def __init__(
        self, extractors: Sequence[nn.Module], head: nn.Linear, trunk: nn.Module | None = None
    ) -> None:
        super().__init__()
        self._extractors = nn.ModuleList(extractors)
        self.head, self.trunk = head, trunk

    @property
    def extractors(self) -> list[Extractor]:
        """F_1 to F_t."""
        return [cast(Extractor, extractor) for extractor in self._extractors]

    @property
    def classes(self) -> int:
        return self.head.out_features

    def features(self, images_BCHW: Tensor) -> Tensor:
        """Compute the super-feature u (B, t*D): the extractors' features side by side."""
        inputs = self.enter(images_BCHW)
        return torch.cat([extractor(inputs) for extractor in self.extractors], dim=1)

    def enter(self, images_BCHW: Tensor) -> Tensor:
        """Compute what the extractors take: the trunk's outputs, or the images if there is no trunk."""
        return images_BCHW if self.trunk is None else self.trunk(images_BCHW)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Compute logits (B, C) of normalised images (B, channels, H, W)."""
        return self.head(self.features(images_BCHW))  # type: ignore[no-any-return]


def empty_network() -> Network:
    return Network([], blank_linear(0, 0, bias=True))


@torch.no_grad()
def expand(
    previous: Network,
    new_classes: int,
    settings: NetworkSettings,
    channels: int,
    generator: torch.Generator,
    start: weights.Start | None = None,
    side: int | None = None,
) -> Network:
    """Make the network of step t before training (DER, section 3.2).

    F_t starts as a copy of F_{t-1} (at step 1: of ``start``, or random); channels that F_{t-1} lost by
    pruning start at random. The classifier keeps its weights for old classes on old features, and its old
    biases, unless ``settings.inherit_head`` is off; the rest is random. Without expansion (the ablation of
    section 4.4, and extractors that are not trained), the only extractor continues from F_{t-1} and the
    classifier keeps its weights for it. ``previous`` does not change; extractors are shared, and so is a
    trunk, which step 1 makes for images of ``side`` pixels where it can.
    """
    newest = random_extractor(settings, channels, generator)
    before = previous.extractors[-1] if previous.extractors else None
    trunk = previous.trunk
    if before is None and start is not None:
        weights.begin(newest, start)
    if side is not None and (weights.shares_trunk(newest, side) if before is None else trunk is not None):
        own, tail = weights.split(newest, side)
        newest, trunk = cast(Extractor, tail), trunk or own
    if isinstance(before, resnet.ResNet) and isinstance(newest, resnet.ResNet):
        resnet.copy_channels(before, newest)
    elif before is not None:
        weights.fill(newest, before.state_dict())
    kept = previous.extractors if settings.grows else []
    features = sum(extractor.features for extractor in kept) + newest.features
    head = random_linear(features, previous.classes + new_classes, settings, generator)
    if settings.inherit_head and before is not None:
        columns = list(range(previous.head.in_features))
        if not settings.grows and isinstance(before, resnet.ResNet):
            columns = before.shape.streams[-1]  # the features that the pruned extractor had
        head.weight[: previous.classes, torch.tensor(columns)] = previous.head.weight
        if head.bias is not None:
            head.bias[: previous.classes] = previous.head.bias
    return Network([*kept, newest], head, trunk)


@torch.no_grad()
def prune_newest(network: Network, shape: architecture.Shape, settings: NetworkSettings) -> Network:
    """Return the network with only the channels of ``shape`` in its newest extractor, a whole ResNet.

    The classifier loses its weights for removed features (DER, section 3.3); the rest is copied.
    """
    *kept, newest = network.extractors
    assert isinstance(newest, resnet.ResNet)
    pruned = build_extractor(settings, newest.stem.conv.in_channels, shape)
    assert isinstance(pruned, resnet.ResNet)
    resnet.copy_channels(newest, pruned)
    old_features = network.head.in_features - newest.features
    columns = [*range(old_features), *(old_features + channel for channel in shape.streams[-1])]
    head = blank_linear(len(columns), network.classes, settings.head_bias)
    head.weight.copy_(network.head.weight[:, columns])
    if settings.head_bias:
        head.bias.copy_(network.head.bias)
    return Network([*kept, pruned], head)


def build_extractor(
    settings: NetworkSettings, channels: int, shape: architecture.Shape | None = None
) -> Extractor:
    """Build an uninitialised extractor for images of so many channels; ``shape`` is a pruned one's."""
    build = backbones.choose_backbone(settings).build
    with randomness.Diverted():
        extractor = build(channels, shape)
    if not isinstance(getattr(extractor, "features", None), int):
        raise UserError(f"network.backbone: {settings.backbone} must set features, the number of its outputs")
    return cast(Extractor, extractor)


def random_extractor(settings: NetworkSettings, channels: int, generator: torch.Generator) -> Extractor:
    """Make a new extractor with random weights for images of so many channels."""

    def draw(stream: torch.Generator) -> Extractor:
        extractor = build_extractor(settings, channels)
        backbones.choose_backbone(settings).initialize(extractor, stream)
        return extractor

    return draw_repeatably(draw, generator, "backbone", settings)


def random_linear(
    features: int, classes: int, settings: NetworkSettings, generator: torch.Generator
) -> nn.Linear:
    """Draw a new classifier of so many classes as ``settings`` say; raises UserError for an unknown way."""
    choices, name = backbones.HEAD_INITIALIZATIONS, settings.head_initialization
    initialize = registry.look_up(choices, name, "network.head_initialization")

    def draw(stream: torch.Generator) -> nn.Linear:
        layer = blank_linear(features, classes, settings.head_bias)
        for values in layer.parameters():
            nn.init.constant_(values, torch.nan)  # which would show
        initialize(layer, stream)
        return layer

    return draw_repeatably(draw, generator, "head_initialization", settings)


def draw_repeatably(
    draw: Callable[[torch.Generator], M], generator: torch.Generator, key: str, settings: NetworkSettings
) -> M:
    """Return the result of ``draw`` for ``generator``; raises UserError unless a second call repeats it."""
    twin = generator.clone_state()
    module = draw(generator)
    values, others = module.state_dict(), draw(twin).state_dict()
    unlike = [name for name, value in values.items() if not torch.equal(value, others[name])]
    if unlike:
        fault = f"draws {unlike[0]} from something else than its generator, or not at all"
        raise UserError(f"network.{key}: {getattr(settings, key)} {fault}; draw all from it")
    return module


def blank_linear(features: int, classes: int, bias: bool) -> nn.Linear:
    """Make an uninitialised linear layer; both numbers may be zero."""
    with randomness.Diverted():
        layer = nn.Linear(1, 1)  # torch warns of an empty one
    layer.in_features, layer.out_features = features, classes
    layer.weight = nn.Parameter(torch.empty(classes, features))
    layer.register_parameter("bias", nn.Parameter(torch.empty(classes)) if bias else None)
    return layer


def pruned_shape(extractor: nn.Module) -> architecture.Shape | None:
    """Return the channels that a pruned extractor keeps; None: all."""
    return extractor.shape if isinstance(extractor, resnet.ResNet) and extractor.is_pruned else None


def count_parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def may_draw(*modules: nn.Module) -> bool:
    """Tell whether a pass may draw from torch's global generators: our modules and DRAWLESS do not."""
    inner = {type(one) for module in modules for one in module.modules()}
    return not all(one in DRAWLESS or one.__module__.startswith("der.") for one in inner)


@torch.no_grad()
def try_extractor(network: Network, settings: NetworkSettings, side: int, channels: int) -> None:
    """Raise UserError, naming the backbone, unless the newest extractor makes features of such images.

    It processes images (B, channels, side, side) of zeros in evaluation mode, and does not change.
    """
    extractor = network.extractors[-1]
    was_training, device = extractor.training, next(extractor.parameters()).device
    try:
        found = extractor.eval()(network.enter(torch.zeros(TRIED, channels, side, side, device=device)))
    except (RuntimeError, AssertionError) as error:  # of torch and timm, where a layer cannot take the images
        reason = str(error).partition("\n")[0]
        fault = f"network.backbone: {settings.backbone} takes no images of {side} pixels ({reason})"
        raise UserError(f"{fault}; write another dataset.image_side") from error
    finally:
        extractor.train(was_training)
    if found.shape != (TRIED, extractor.features) or found.dtype != torch.float32:
        raise UserError(
            f"network.backbone: {settings.backbone} makes {found.dtype} of shape {tuple(found.shape)} of "
            f"{TRIED} images; return torch.float32 of shape (images, {extractor.features}), as its attribute "
            "features says"
        )


def try_side(settings: NetworkSettings, side: int, channels: int) -> None:
    """Call ``try_extractor`` with a timm model that holds no values, so that it takes no memory."""
    with torch.device("meta"):
        extractor = build_extractor(settings, channels)
    try_extractor(Network([extractor], blank_linear(0, 0, bias=True)), settings, side, channels)


PASS_VALUES = 512 * 3 * 32 * 32  # input values per forward pass: bounds memory for large images


@torch.inference_mode()
def run_network(
    network: Network,
    normalization: architecture.Normalization,
    images: NDArray[np.uint8],
    device: torch.device,
    precision: torch.dtype = torch.float32,
) -> architecture.Outputs:
    """Compute super-features and logits of images (N, H, W, C) uint8, in evaluation mode, on its device."""
    network.eval()
    normalize = Normalize(normalization).to(device)
    per_pass = images_per_pass(images[0].size)
    # Of several ranks each takes a row of images; passes of other lengths may round another way.
    part = distributed.shard(len(images))
    sizes = network.head.in_features, network.head.out_features
    features, logits = (torch.zeros(len(images), size) for size in sizes)
    for start in range(part.start, part.stop, per_pass):
        own = slice(start, min(start + per_pass, part.stop))
        batch = torch.from_numpy(np.array(images[own])).to(device)
        files.release(images)
        inputs = normalize(batch.permute(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
        features_BD = network.features(inputs.to(precision))
        features[own] = features_BD.cpu()
        logits[own] = network.head(features_BD).cpu()
    distributed.all_reduce([features, logits])
    return architecture.Outputs(features.numpy(), logits.numpy())


def outputs_by_class(
    network: Network,
    normalization: architecture.Normalization,
    classes: Iterable[NDArray[np.uint8]],
    device: torch.device,
) -> Iterator[architecture.Outputs]:
    """Yield a folded network's outputs for each class's images (N, H, W, C); small classes share a pass."""
    for some in _passes(classes):
        images = some[0]
        if len(some) > 1:
            images = np.concatenate(some)
            for one in some:
                files.release(one)
        outputs = run_network(network, normalization, images, device)
        ends = np.cumsum([len(one) for one in some])[:-1]
        yield from map(architecture.Outputs, np.split(outputs.features, ends), np.split(outputs.logits, ends))


def _passes(classes: Iterable[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    """Group neighbouring classes that share a pass; a large class takes one or more passes alone."""
    some: list[NDArray[np.uint8]] = []
    for images in classes:
        if some and sum(map(len, some)) + len(images) > images_per_pass(images[0].size):
            yield some
            some = []
        some.append(images)
    if some:
        yield some


def outputs_of(
    network: Network, normalization: architecture.Normalization, device: torch.device
) -> Callable[[Iterable[NDArray[np.uint8]]], Iterator[architecture.Outputs]]:
    """Return ``outputs_by_class`` of a folded copy of ``network``."""
    folded = fold_network(network, device)
    return lambda classes: outputs_by_class(folded, normalization, classes, device)


def features_of(
    network: Network, normalization: architecture.Normalization, device: torch.device
) -> Callable[[Iterable[NDArray[np.uint8]]], Iterator[NDArray[np.float32]]]:
    """Return a function from classes' images (N, H, W, C) to super-features (N, D), with a folded network."""
    compute = outputs_of(network, normalization, device)
    return lambda classes: (outputs.features for outputs in compute(classes))


def images_per_pass(values: int) -> int:
    """Return how many images of so many input values go through the network at once."""
    return max(1, PASS_VALUES // values)


class Normalize(nn.Module):
    """Converts uint8 (B, C, H, W) to float32: scale to [0, 1], subtract the mean, divide by the deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, normalization: architecture.Normalization) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(normalization.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(normalization.std)[:, None, None])

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return (images_BCHW.float() / 255 - self.mean) / self.std


def fold_network(network: Network, device: torch.device, dtype: torch.dtype = torch.float32) -> Network:
    """Return ``network`` on ``device``, with trunk and extractors folded by ``place_folded``."""
    trunk = None if network.trunk is None else place_folded(network.trunk, device, dtype)
    extractors = [place_folded(one, device, dtype) for one in network.extractors]
    return Network(extractors, network.head.to(device), trunk)


def fold_batchnorm(extractor: M) -> M:
    """Copy extractor or trunk to the CPU without batch normalisation and gradients, equal to about 1e-6.

    It folds in float64, so that only the folded weights are rounded. Modules without a method ``fold`` like
    ConvNorm's are copied unchanged, in evaluation mode.
    """
    folded = copy.deepcopy(extractor).cpu().double().eval()  # Apple's GPUs have no float64
    for layer in [*folded.modules()]:
        if fold := getattr(layer, "fold", None):
            fold()
    return folded.to(torch.float32).requires_grad_(False)


def place_folded(extractor: M, device: torch.device, dtype: torch.dtype) -> M:
    """Put the result of ``fold_batchnorm`` on ``device``, for images of ``dtype`` with channels last."""
    folded = fold_batchnorm(extractor).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in folded.modules():
        if isinstance(layer, ConvNorm):
            layer.conv.weight.data = layer.conv.weight.data.to(dtype)
    return folded  # type: ignore[no-any-return]
