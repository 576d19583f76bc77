"""Rebalancings: each changes the classifier and nothing else, and does what its paper says."""

import copy
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from torch import nn

from der.core.errors import UserError
from der.core.randomness import generator
from der.data.arrays import Memory, every_row
from der.model.checkpoint import Checkpoint
from der.model.network import Network, blank_linear, random_linear
from der.settings.sections import TrainSettings
from der.train.batches import draw_epoch
from der.train.step import (
    Rebalanced,
    balanced_subset,
    classifier_learning,
    find_rebalancing,
    prepare_step,
    weight_alignment,
)
from tests import builders


def test_by_hand() -> None:
    network = Network([], nn.Linear(2, 3))
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 1.0], [-6.0, 8.0]]))  # norms 5, 1 and 10
        network.head.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    run = builders.step_run(2, builders.train_settings())
    assert weight_alignment(run, network, IMAGES).gamma == pytest.approx(0.3)
    torch.testing.assert_close(network.head.weight.detach()[2], torch.tensor([-1.8, 2.4]))
    assert network.head.bias.tolist() == [1.0, 2.0, 3.0]


STAGE = builders.classifier_settings(
    epochs=3, learning_rate=0.2, milestones=[1], temperature=5.0, batch_size=4
)

SETTINGS = builders.train_settings(
    augmentation=builders.NO_AUGMENTATION,
    incremental=builders.incremental_settings(rebalancing="classifier_learning", classifier=STAGE),
)

NAMES = [["a", "b"], ["c", "d"]]

IMAGES = builders.training_images(0, [3, 4, 9, 9])


def stage(settings: TrainSettings = SETTINGS) -> tuple[Network, Network, builders.Recorder]:
    """A random network before and after the stage, and what the listener heard."""
    network, recorder = builders.random_network([2, 2]), builders.Recorder()
    before = copy.deepcopy(network)
    run = builders.step_run(2, settings, listener=recorder)
    classifier_learning(run, network, IMAGES)
    return before, network, recorder


def test_the_stage_against_the_textbook() -> None:
    before, after, _ = stage()
    numbers = balanced_subset(IMAGES.labels, generator(0, "balanced subset", 2))
    pixels = torch.from_numpy(IMAGES.pixels.read(numbers)) / 255
    x = (
        (pixels - torch.tensor(builders.NORMALIZATION.mean)) / torch.tensor(builders.NORMALIZATION.std)
    ).permute(0, 3, 1, 2)
    y = torch.from_numpy(IMAGES.labels[numbers])
    head = random_linear(128, 4, builders.NETWORK, generator(0, "classifier", 2))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.2, momentum=0.9, weight_decay=5e-4)
    with torch.no_grad():
        features = before.features(x.float())
    for epoch, rate in enumerate([0.2, 0.02, 0.02]):
        optimizer.param_groups[0]["lr"] = rate
        order = draw_epoch(len(y), builders.NO_AUGMENTATION, 0, "classifier", 2, epoch).order
        for batch in order.split(4):
            optimizer.zero_grad()
            F.cross_entropy(head(features[batch]) / 5, y[batch]).backward()
            optimizer.step()
    torch.testing.assert_close(after.head.weight, head.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.head.bias, head.bias, rtol=1e-4, atol=1e-5)


def test_the_stage_learns_from_whole_images_alone() -> None:
    with_mixes = replace(SETTINGS, augmentation=replace(builders.NO_AUGMENTATION, cutmix=1.0))
    (_, plain, _), (_, mixed, _) = stage(), stage(with_mixes)
    assert builders.same_bits(builders.weights(plain), builders.weights(mixed))
    images = builders.training_images(0, [9, 9])
    networks = [builders.take_step(None, NAMES[:1], images, one).network for one in (SETTINGS, with_mixes)]
    assert not builders.same_bits(*map(builders.weights, networks))  # representation learning does


@pytest.mark.parametrize("counts", [[3, 4, 9, 9], [5, 5], [1, 50], [7]])
def test_the_subset_is_balanced(counts: list[int]) -> None:
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = balanced_subset(labels, generator(0, "x"))
    assert len(set(chosen.tolist())) == len(chosen)
    assert chosen.tolist() == sorted(chosen.tolist())
    assert np.bincount(labels[chosen]).tolist() == [min(counts)] * len(counts)


def warnings_of(steps: list[list[str]], counts: list[int], rebalancing: str) -> list[str]:
    heard: list[str] = []
    settings = replace(SETTINGS, incremental=builders.incremental_settings(rebalancing=rebalancing))
    labels, old = np.arange(len(counts)).repeat(counts), sum(map(len, steps[:-1]))
    images = np.split(builders.random_images(0, len(labels)), np.cumsum(counts)[:-1])
    memory = Memory(every_row(images[:old]), labels[labels < old], np.zeros((old, 2), np.float32))
    given = None, steps, images[old:], memory, builders.NETWORK, settings, torch.device("cpu"), None
    prepare_step(*given, heard.append, processes=2)
    return heard


def test_a_new_class_of_few_images_is_told_of() -> None:
    steps = [["a", "b"], ["c", "elk\n"]]
    assert warnings_of(steps, [20, 20, 9, 2], "classifier_learning") == [
        "training images of class elk\\n: 2, so classifier learning takes only 2 of each, 8 of 51; "
        "add some, or write train.incremental.rebalancing: weight_alignment"
    ]
    for counts in ([20, 20, 10, 10], [2, 20, 9, 2], [9, 9, 9, 9], [3, 20, 30, 30]):
        assert not warnings_of(steps, counts, "classifier_learning")  # enough
    assert not warnings_of(steps, [20, 20, 9, 2], "weight_alignment")
    assert not warnings_of([["a", "b", "c"]], [20, 20, 2], "classifier_learning")


def take(settings: TrainSettings = SETTINGS, **changes: Any) -> Checkpoint:
    return builders.take_step(builders.random_checkpoint([2]), NAMES, IMAGES, settings, **changes)


def test_in_a_step_it_follows_representation_learning() -> None:
    recorder = builders.Recorder()
    learned = take(listener=recorder)
    plain = take(replace(SETTINGS, incremental=replace(SETTINGS.incremental, rebalancing="none")))
    assert recorder.phases == [("representation", 2, 25), ("classifier", 3, 12)]
    for one, other in zip(learned.network.extractors, plain.network.extractors, strict=True):
        assert builders.same_bits(builders.weights(one), builders.weights(other))
    assert not torch.equal(learned.network.head.weight, plain.network.head.weight)
    assert learned.metadata is not None and learned.metadata.gamma is None
    run = builders.step_run(2, SETTINGS)
    classifier_learning(run, plain.network, IMAGES)
    assert builders.same_bits(builders.weights(plain.network), builders.weights(learned.network))


# Two epochs of four batches of the representation, then three of three of the classifier.
@pytest.mark.parametrize(
    ("batches", "resumed", "left", "masked"),
    [(7, [1], 1 + 3, False), (8, [2], 3, True), (12, [2, 1], 2, False)],
)
def test_resumed_it_gives_the_same_bits(batches: int, resumed: list[int], left: int, masked: bool) -> None:
    settings = replace(SETTINGS, masks=builders.mask_settings() if masked else None)
    keeper, listener = builders.MemoryKeeper(), builders.Recorder()
    with pytest.raises(builders.Killed):
        take(settings, listener=builders.Killer(batches), keeper=keeper)
    again = take(settings, listener=listener, keeper=keeper)
    whole = take(settings)
    assert again.metadata == whole.metadata
    assert builders.same_bits(builders.weights(again.network), builders.weights(whole.network))
    assert listener.resumed == resumed
    assert len(listener.records) == left


FEW_IMAGES = builders.training_images(1, [3, 3, 5])


def rebalance(name: str, network: Network) -> Rebalanced:
    return find_rebalancing(name)(builders.step_run(2, builders.train_settings()), network, FEW_IMAGES)


@torch.no_grad()
def other_head(network: Network) -> None:
    head = blank_linear(network.head.in_features, network.classes, bias=True)
    head.load_state_dict(network.head.state_dict())
    network.head = head


@torch.no_grad()
def shorter(network: Network) -> None:
    network.head.weight = nn.Parameter(network.head.weight[:-1])


@torch.no_grad()
def train_extractor(network: Network) -> None:
    next(network.extractors[0].parameters()).view(-1)[0] += 1e-6


def see_in_training_mode(network: Network) -> None:
    network.train()(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("change", "returned", "fault"),
    [
        (lambda network: None, None, "returns NoneType; return Rebalanced"),
        (lambda network: None, ([], None), "returns tuple; return Rebalanced"),
        (lambda network: None, Rebalanced(None), "returns Rebalanced; return Rebalanced"),  # type: ignore[arg-type]
        (lambda network: None, Rebalanced([1]), "returns Rebalanced; return Rebalanced"),  # type: ignore[list-item]
        (
            other_head,
            Rebalanced([]),
            "changes more than the classifier's weights in place; change these alone",
        ),
        (shorter, Rebalanced([]), "changes more than the classifier's weights in place; change these alone"),
        (
            train_extractor,
            Rebalanced([]),
            "changes more than the classifier's weights in place; change these alone",
        ),
        (
            see_in_training_mode,
            Rebalanced([]),
            "changes more than the classifier's weights in place; change these alone",
        ),
    ],
)
def test_what_else_it_does_is_refused(
    change: Callable[[Network], None], returned: Any, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own(run: object, network: Network, images: object) -> Any:
        change(network)
        return returned

    monkeypatch.setattr(sys.modules[__name__], "own", own, raising=False)
    with pytest.raises(UserError) as caught:
        rebalance(f"{__name__}:own", builders.random_network([2, 1]))
    assert str(caught.value).startswith(f"train.incremental.rebalancing: {__name__}:own {fault}")
