"""The network: features side by side, growth from step to step, and extractors of anyone's making."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from der.core.errors import UserError
from der.model.backbones import BACKBONES, HEAD_INITIALIZATIONS, Backbone, choose_backbone
from der.model.network import (
    Network,
    blank_linear,
    build_extractor,
    empty_network,
    expand,
    prune_newest,
    random_extractor,
    random_linear,
    try_side,
)
from der.train.objective import ChannelMasks
from tests.builders import (
    CHANNELS,
    NETWORK,
    Recorder,
    mask_settings,
    network_settings,
    random_network,
    same_bits,
    take_step,
    train_settings,
    training_images,
    weights,
)


def grown(previous: Network, new_classes: int, seed: int = 5) -> Network:
    return expand(previous, new_classes, NETWORK, CHANNELS, torch.Generator().manual_seed(seed))


@pytest.fixture
def previous() -> Network:
    return random_network([4, 2])


def test_old_weights_and_biases_are_inherited_and_the_rest_is_random(previous: Network) -> None:
    head, other = grown(previous, 3, seed=1).head, grown(previous, 3, seed=2).head
    assert head.weight.shape == (9, 3 * 64) and head.bias.shape == (9,)
    assert torch.equal(head.weight[:6, :128], previous.head.weight)
    assert torch.equal(head.bias[:6], previous.head.bias)
    bound = (3 * 64) ** -0.5
    for part in ((slice(6, 9), slice(None)), (slice(None), slice(128, 192))):
        values = head.weight[part].detach()
        assert 0.9 * bound < values.abs().max() <= bound
        assert abs(values.mean()) < 0.1 * bound
        assert not torch.isclose(values, other.weight[part]).any()
    assert head.bias[6:].abs().max() <= bound
    assert not torch.equal(head.bias[6:], other.bias[6:])
    assert same_bits(weights(grown(previous, 3)), weights(grown(previous, 3)))


def test_the_new_extractor_is_a_copy_of_the_newest_and_leaves_it(previous: Network) -> None:
    before, network = weights(previous), grown(previous, 3)
    *shared, newest = network.extractors
    assert same_bits(weights(newest), weights(previous.extractors[-1]))
    assert not same_bits(weights(newest), weights(previous.extractors[0]))
    assert all(kept is old for old, kept in zip(previous.extractors, shared, strict=True))
    with torch.no_grad():
        for module in (newest, network.head):
            for value in module.state_dict().values():
                value.add_(1)
    assert same_bits(weights(previous), before)


def test_without_expansion_a_pruned_extractor_goes_on_whole() -> None:
    settings = network_settings(expansion=False)
    network = random_network([4])
    masks = ChannelMasks(network.extractors[0], mask_settings(), torch.Generator().manual_seed(0))
    pruned = prune_newest(network, masks.shape(), settings)
    grown = expand(pruned, 2, settings, CHANNELS, torch.Generator().manual_seed(0))
    kept, rows = masks.shape().streams[-1], masks.shape().streams[0]
    assert grown.head.weight.shape == (6, 64)
    assert torch.equal(grown.head.weight[:4, kept], pruned.head.weight)
    stem, before = grown.extractors[0].stem.conv.weight, network.extractors[0].stem.conv.weight
    assert torch.equal(stem[rows], before[rows])


@pytest.mark.parametrize("name", HEAD_INITIALIZATIONS)
def test_new_rows_and_columns_are_drawn_as_asked(name: str) -> None:
    settings = network_settings(head_initialization=name)
    first = expand(empty_network(), 4, settings, CHANNELS, torch.Generator().manual_seed(0))
    second = expand(first, 2, settings, CHANNELS, torch.Generator().manual_seed(1))
    drawn = blank_linear(128, 6, bias=True)
    stream = torch.Generator().manual_seed(1)
    choose_backbone(settings).initialize(build_extractor(settings, CHANNELS), stream)
    HEAD_INITIALIZATIONS[name](drawn, stream)
    assert torch.equal(second.head.weight[4:], drawn.weight[4:])
    assert torch.equal(second.head.weight[:4, 64:], drawn.weight[:4, 64:])
    assert torch.equal(second.head.bias[4:], drawn.bias[4:])


OWN = network_settings(backbone="own", head_initialization="own", mean=[0.5] * 3, std=[0.2] * 3)
TRAINED = replace(OWN, head_initialization="torch_uniform")


class Net(nn.Module):
    """Means of channels, linearly to ``features``; ``change`` is made of the result."""

    def __init__(self, channels: int, change: Callable[[Tensor], object] = lambda found: found) -> None:
        super().__init__()
        self.features = 5
        self.linear = nn.Linear(channels, 5)
        self.dropout = nn.Dropout(0.5)
        self.change = change

    def forward(self, images: Tensor) -> Any:
        return self.change(self.dropout(self.linear(images.mean((2, 3)))))


def draw_all(module: nn.Module, generator: torch.Generator) -> None:
    for values in module.parameters():
        nn.init.uniform_(values, generator=generator)


def draw_from_elsewhere(module: nn.Module, generator: torch.Generator) -> None:
    for values in module.parameters():
        nn.init.uniform_(values)


def name_own(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    backbone = Backbone(**{"build": lambda channels, shape: Net(channels), "initialize": draw_all, **changes})
    monkeypatch.setitem(BACKBONES, "own", lambda settings: backbone)


def raising(error: Exception) -> Callable[[Tensor], object]:
    def change(found: Tensor) -> object:
        raise error

    return change


RETURN = r"; return torch\.float32 of shape \(images, 5\), as its attribute features says$"
SIDE = r"takes no images of 8 pixels \(too small\); write another dataset\.image_side$"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda found: found[:, :4], rf"makes torch.float32 of shape \(2, 4\) of 2 images{RETURN}"),
        (lambda found: found.double(), rf"makes torch.float64 of shape \(2, 5\) of 2 images{RETURN}"),
        # As torch says of a kernel that is larger than the image, and timm of patches that do not fill it.
        (raising(RuntimeError("too small\nat: 0x7f")), SIDE),
        (raising(AssertionError("too small")), SIDE),
    ],
)
def test_an_extractor_that_does_not_do_stops_it_before_training(
    change: Callable[[Tensor], object], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_own(monkeypatch, build=lambda channels, shape: Net(channels, change))
    recorder = Recorder()
    with pytest.raises(UserError, match=rf"^network\.backbone: own {fault}"):
        take_step(None, [["a", "b"]], training_images(1, [9, 7]), train_settings(), recorder, network=TRAINED)
    assert recorder.phases == []


@pytest.mark.parametrize(
    "draw",
    [
        lambda module, generator: nn.init.uniform_(next(module.parameters()), generator=generator),
        draw_from_elsewhere,
        lambda module, generator: None,
    ],
    ids=["weights alone", "from elsewhere", "nothing"],
)
def test_weights_that_the_generator_does_not_decide_on(
    draw: Callable[[nn.Module, torch.Generator], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    name_own(monkeypatch, initialize=draw)
    monkeypatch.setitem(HEAD_INITIALIZATIONS, "own", draw)
    with pytest.raises(UserError, match=r"^network\.backbone: own draws linear\.\w+ from something else"):
        random_extractor(OWN, 3, torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=r"^network\.head_initialization: own draws \w+ from something else"):
        random_linear(4, 3, OWN, torch.Generator().manual_seed(0))


def test_a_side_is_tried_without_values_and_draws() -> None:
    settings, own = network_settings(backbone="timm:test_convnext"), torch.get_rng_state()
    try_side(settings, side=32, channels=1)
    with pytest.raises(UserError, match=r"^network\.backbone: timm:test_convnext takes no images of 16 pix"):
        try_side(settings, side=16, channels=3)
    assert torch.equal(own, torch.get_rng_state())
