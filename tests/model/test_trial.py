"""Backbones and starts of classifiers, which may be anyone's, are tried before anything is trained."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from der.core.errors import UserError
from der.model.backbones import BACKBONES, Backbone, build_extractor, choose_backbone
from der.model.expansion import random_extractor, random_linear
from der.model.extractor import Extractor, as_extractor
from der.model.head_initialization import HEAD_INITIALIZATIONS
from der.model.trial import may_draw, takes_one_image, try_extractor, try_side
from tests.builders import (
    NETWORK,
    Recorder,
    network_settings,
    same_bits,
    take_step,
    train_settings,
    training_images,
    weights,
)

OWN_BACKBONE = network_settings(backbone="own", mean=[0.5] * 3, std=[0.2] * 3)
OWN = replace(OWN_BACKBONE, head_initialization="own")


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


def draw_weights_alone(module: nn.Module, generator: torch.Generator) -> None:
    nn.init.uniform_(next(module.parameters()), generator=generator)


def draw_from_elsewhere(module: nn.Module, generator: torch.Generator) -> None:
    for values in module.parameters():
        nn.init.uniform_(values)


def name_own(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    parts: dict[str, Any] = {"build": lambda channels, shape: Net(channels), "initialize": draw_all}
    backbone = Backbone(**(parts | changes))
    monkeypatch.setitem(BACKBONES, "own", lambda settings: backbone)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda found: None, "returns NoneType"),
        (lambda found: (found, found), "returns tuple"),
        (lambda found: found[:, :4], r"makes torch.float32 of shape \(2, 4\) of 2 images"),
        (lambda found: found[0], r"makes torch.float32 of shape \(5,\) of 2 images"),
        (lambda found: found[..., None], r"makes torch.float32 of shape \(2, 5, 1\) of 2 images"),
        (lambda found: found.double(), r"makes torch.float64 of shape \(2, 5\) of 2 images"),
    ],
)
def test_features_that_are_not_as_they_should_be_stop_it_before_training(
    change: Callable[[Tensor], object], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_own(monkeypatch, build=lambda channels, shape: Net(channels, change))
    recorder = Recorder()
    with pytest.raises(UserError, match=rf"^network\.backbone: own {fault}; return torch\.float32 of shape"):
        take_step(
            None, [["a", "b"]], training_images(1, [9, 7]), train_settings(), recorder, network=OWN_BACKBONE
        )
    assert recorder.phases == []


def raising(error: Exception) -> Callable[[Tensor], object]:
    def change(found: Tensor) -> object:
        raise error

    return change


# As torch says of a kernel that is larger than the image, and timm of patches that do not fill it.
@pytest.mark.parametrize("error", [RuntimeError("too small\nat: 0x7f"), AssertionError("too small")])
def test_images_that_a_backbone_cannot_take(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    name_own(monkeypatch, build=lambda channels, shape: Net(channels, raising(error)))
    with pytest.raises(UserError) as caught:
        take_step(None, [["a", "b"]], training_images(1, [9, 7]), train_settings(), network=OWN_BACKBONE)
    assert str(caught.value) == (
        "network.backbone: own takes no images of 8 pixels (too small); write another dataset.image_side"
    )


def test_a_side_is_tried_without_values_and_draws() -> None:
    settings, own = network_settings(backbone="timm:test_convnext"), torch.get_rng_state()
    try_side(settings, side=32, channels=1)
    with pytest.raises(
        UserError, match=r"^network\.backbone: timm:test_convnext takes no images of 16 pixels"
    ):
        try_side(settings, side=16, channels=3)
    assert torch.equal(own, torch.get_rng_state())


@pytest.mark.parametrize("training", [True, False])
def test_trying_leaves_an_extractor_as_it_was(training: bool) -> None:
    extractor = build_extractor(NETWORK, 3).train(training)
    before = weights(extractor)
    try_extractor(extractor, NETWORK, side=8, channels=3)
    assert same_bits(before, weights(extractor))
    assert {one.training for one in extractor.modules()} == {training}


class AfterPooling(Net):
    """Normalises one value of each channel of an image, as split attention does."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = nn.BatchNorm1d(5)

    def forward(self, images: Tensor) -> Any:
        return self.norm(super().forward(images))


@pytest.mark.parametrize(
    ("extractor", "side", "takes"),
    [
        (build_extractor(NETWORK, 3), 4, False),
        (build_extractor(NETWORK, 3), 5, True),
        (Net(3), 1, True),
        (AfterPooling(3), 8, False),
    ],
)
def test_whether_a_batch_of_one_can_be_normalised(extractor: Extractor, side: int, takes: bool) -> None:
    before, own = weights(extractor), torch.get_rng_state()
    assert takes_one_image(extractor, side, channels=3) == takes
    assert same_bits(before, weights(extractor)) and torch.equal(own, torch.get_rng_state())


def test_a_batch_of_one_that_cannot_be_normalised_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    name_own(monkeypatch, build=lambda channels, shape: AfterPooling(channels))
    with pytest.raises(UserError, match=r"^train\.base\.batch_size: 8 leaves a batch of one of 17 images"):
        take_step(None, [["a", "b"]], training_images(1, [9, 8]), train_settings(), network=OWN_BACKBONE)


@pytest.mark.parametrize("wrong", [None, 3, Net(3)])
def test_a_backbone_that_returns_none_of_it(wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "own", lambda settings: wrong)
    fault = rf"own returns {type(wrong).__name__}; return a Backbone$"
    with pytest.raises(UserError, match=rf"^network\.backbone: {fault}"):
        choose_backbone(OWN)


def test_an_extractor_that_is_no_module() -> None:
    with pytest.raises(UserError, match=r"^network\.backbone: own builds str; build a torch\.nn\.Module$"):
        as_extractor("an extractor", "own")


@pytest.mark.parametrize("draw", [draw_weights_alone, draw_from_elsewhere, lambda module, generator: None])
def test_weights_that_the_generator_does_not_decide_on(
    draw: Callable[[nn.Module, torch.Generator], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    name_own(monkeypatch, initialize=draw)
    monkeypatch.setitem(HEAD_INITIALIZATIONS, "own", draw)
    with pytest.raises(UserError, match=r"^network\.backbone: own draws linear\.\w+ from something else"):
        random_extractor(OWN, 3, torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=r"^network\.head_initialization: own draws \w+ from something else"):
        random_linear(4, 3, OWN, torch.Generator().manual_seed(0))


def test_what_is_drawn_is_what_the_generator_gives_once(monkeypatch: pytest.MonkeyPatch) -> None:
    name_own(monkeypatch)
    stream, again = (torch.Generator().manual_seed(3) for _ in range(2))
    drawn, expected = random_extractor(OWN, 3, stream), Net(3)
    draw_all(expected, again)
    assert same_bits(weights(drawn), weights(expected))
    assert torch.equal(stream.get_state(), again.get_state())


def test_what_may_draw_is_whatever_is_not_known_to_draw_nothing() -> None:
    class Own(nn.Module):
        """Whose forward nobody knows."""

    ours = build_extractor(NETWORK, channels=3)
    assert not may_draw(ours, nn.Linear(2, 3))
    for drawing in (nn.Dropout(), Own(), nn.Sequential(ours, Own()), nn.TransformerEncoderLayer(4, 2)):
        assert may_draw(ours, drawing)
