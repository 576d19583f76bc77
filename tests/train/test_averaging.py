"""Averaged weights: the plain mean over the last epochs, own statistics, the same bytes if resumed."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from der.model.backbones import Backbone
from der.model.kernels.processor import Kernels
from der.settings.sections import NetworkSettings, TrainSettings
from der.train.engine import Engine, run_phase
from der.train.log import EpochRecord
from der.train.objective import ChannelMasks
from der.train.step import classifier_learning
from tests import builders
from tests.train import dropping
from tests.train.textbook import augmented

pytestmark = pytest.mark.slow

NAMES = [["class 0", "class 1"], ["c", "d"]]
IMAGES = builders.training_images(1, [3, 3, 9, 9])  # three batches of 8
EPOCHS = 4


class Noisy(dropping.Dropping):
    """Its normalisation's statistics depend on what is drawn."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = nn.BatchNorm1d(self.features)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(super().forward(images))  # type: ignore[no-any-return]


def noisy(settings: NetworkSettings) -> Backbone:
    return Backbone(lambda channels, shape: Noisy(channels), dropping.draw)


NOISY = replace(dropping.SETTINGS, backbone="tests.train.test_averaging:noisy")


def settings_of(rebalancing: str = "none", epochs: int = EPOCHS, **changes: Any) -> TrainSettings:
    phase = {"epochs": epochs, "milestones": [2], "decay": 0.5}
    incremental = builders.incremental_settings(rebalancing=rebalancing, **phase)
    return builders.train_settings(base=builders.phase_settings(**phase), incremental=incremental, **changes)


def trained(settings: TrainSettings, **changes: Any) -> builders.Weights:
    """The network after step 2."""
    return builders.weights(
        builders.take_step(builders.random_checkpoint([2]), NAMES, IMAGES, settings, **changes).network
    )


@pytest.mark.parametrize(
    ("share", "averaged"), [(1e-3, [4]), (0.4, [3, 4]), (0.75, [2, 3, 4]), (1.0, [1, 2, 3, 4])]
)
def test_the_weights_are_means_of_shorter_trainings_and_the_frozen_ones_stay(
    share: float, averaged: list[int]
) -> None:
    ends = [trained(settings_of(epochs=epochs)) for epochs in averaged]
    found = trained(settings_of(averaging=share))
    for name, value in found.items():
        if "running" not in name:
            mean = torch.stack([one[name] for one in ends]).double().mean(0)
            torch.testing.assert_close(value.double(), mean, rtol=1e-5, atol=1e-7)
    frozen = [name for name in found if name.startswith("_extractors.0.")]
    assert frozen and all(torch.equal(found[name], ends[0][name]) for name in frozen)


class Copies(builders.Recorder):
    """Keeps what is trained, as it is after each epoch."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.ends: list[builders.Weights] = []

    def on_epoch(self, record: EpochRecord) -> None:
        self.ends.append({name: one.detach().clone() for name, one in self.module.named_parameters()})


def test_masks_and_the_auxiliary_classifier_are_averaged_too() -> None:
    network, phase = builders.random_network([2, 2]), builders.phase_settings(epochs=3)
    masks = ChannelMasks(network.extractors[-1], builders.mask_settings(), torch.Generator().manual_seed(3))  # type: ignore[arg-type]
    objective = builders.build_objective(network, 2, masks=masks)
    copies = Copies(objective)
    feed = builders.build_engine(objective, network.extractors[:1], IMAGES, phase, masks=masks).feed
    engine = Engine(objective, feed, phase, masks, averaged=2)
    run_phase(
        builders.step_run(2, builders.train_settings(), listener=copies), "representation", engine, phase, 24
    )
    engine.place_means()
    assert {"masks.e", "auxiliary.weight", "head.bias"} < copies.ends[0].keys()
    assert all(not torch.equal(a["masks.e"], b["masks.e"]) for a, b in pairwise(copies.ends))
    for name, value in objective.named_parameters():
        torch.testing.assert_close(value.detach(), (copies.ends[1][name] + copies.ends[2][name]) / 2)


def test_statistics_are_those_of_a_pass_over_the_images() -> None:
    settings = settings_of(averaging=0.5)
    checkpoint = builders.take_step(builders.random_checkpoint([2]), NAMES, IMAGES, settings)
    extractor = checkpoint.network.extractors[-1]
    found = builders.weights(extractor)
    norms = [module for module in extractor.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.num_batches_tracked = torch.tensor(0)  # which torch's own function counts
    draws = builders.draws_of(24, settings.augmentation, step=2, epoch=EPOCHS)  # beyond those of training
    update_bn(augmented(IMAGES, draws, settings).split(8), extractor)
    for norm in norms:
        norm.num_batches_tracked = None
    assert norms
    for name, value in builders.weights(extractor).items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    plain = trained(settings_of())
    assert any(
        "running" in name and not torch.allclose(found[name], plain[f"_extractors.1.{name}"])
        for name in found
    )


def assert_resumes(settings: TrainSettings, batches: int, epochs: int, **changes: Any) -> None:
    whole = trained(settings, **changes)
    keeper, resumed = builders.MemoryKeeper(), builders.Recorder()
    with pytest.raises(builders.Killed):
        trained(settings, listener=builders.Killer(batches), keeper=keeper, **changes)
    torch.rand(3)
    again = trained(settings, listener=resumed, keeper=keeper, **changes)
    assert builders.same_bits(again, whole)
    assert resumed.resumed[:1] == [epochs] * (epochs > 0)


# Epochs of three batches, of which the second to the fourth are averaged; then classifier learning.
@pytest.mark.parametrize(
    ("batches", "epochs", "masked"),
    [(2, 0, True), (4, 1, False), (8, 2, True), (11, 3, False), (13, 4, True)],
)
def test_a_resumed_run_gives_the_same_bits(batches: int, epochs: int, masked: bool) -> None:
    masks = builders.mask_settings() if masked else None
    assert_resumes(settings_of("classifier_learning", masks=masks, averaging=0.75), batches, epochs)


def test_layers_that_draw_draw_the_same_for_the_statistics() -> None:
    settings, names = settings_of(averaging=0.75), [["a", "b", "c", "d"]]
    one, other = (
        builders.weights(builders.take_step(None, names, IMAGES, settings, network=NOISY).network)
        for _ in range(2)
    )
    assert builders.same_bits(one, other)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_so_it_does_with_kernels_of_the_processor(precision: str, kernels: Kernels) -> None:
    settings = settings_of(averaging=0.75, precision=precision)
    assert_resumes(settings, 8, 2, kernels=kernels)


def test_classifier_learning_is_not_averaged() -> None:
    settings = settings_of(averaging=0.75, rebalancing="classifier_learning")
    averaged = settings_of(averaging=0.75)
    network = builders.take_step(builders.random_checkpoint([2]), NAMES, IMAGES, averaged).network
    classifier_learning(builders.step_run(2, replace(settings, averaging=None)), network, IMAGES)
    assert builders.same_bits(builders.weights(network), trained(settings))
