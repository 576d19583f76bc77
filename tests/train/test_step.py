"""One step: ablations, warm-up, batches that it refuses, layers that draw, kernels of the processor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from torch import nn

from der.core.randomness import generator
from der.data.arrays import empty_memory
from der.model.backbones import torch_uniform
from der.model.checkpoint import Checkpoint, Metadata
from der.model.kernels import processor
from der.model.kernels.processor import Kernels
from der.model.network import Network, count_parameters, expand, run_network
from der.settings.sections import DistillationSettings, NetworkSettings, Precision, to_values
from der.train.batches import TrainingImages, gather_step
from der.train.engine import choose_kernels, worth_compiling
from der.train.step import learn_representation
from tests.builders import (
    CHANNELS,
    CPU,
    NETWORK,
    NORMALIZATION,
    Killed,
    Killer,
    MemoryKeeper,
    Recorder,
    Weights,
    assert_saved,
    incremental_settings,
    largest_difference,
    mask_settings,
    phase_settings,
    random_network,
    same_bits,
    step_run,
    take_step,
    train_settings,
    training_images,
    weights,
)
from tests.train import dropping
from tests.train.textbook import DATA, class_names

NAMES = [["a", "b"], ["c", "d"], ["e"]]

IMAGES = training_images(0, [3, 3, 8, 8])

COUNTS = [[9, 9], [3, 3, 9, 9], [2, 2, 3, 3, 9]]

SINGLE = replace(NETWORK, expansion=False)


def three_steps(
    network: NetworkSettings = NETWORK, train: dict[str, Any] | None = None, **incremental: Any
) -> tuple[list[Checkpoint], list[Recorder]]:
    settings = train_settings(incremental=incremental_settings(**incremental), **train or {})
    checkpoints: list[Any] = [None]
    recorders = []
    for step, count in enumerate(COUNTS, start=1):
        recorders.append(Recorder())
        images = training_images(step, count)
        given = checkpoints[-1], NAMES[:step], images, settings, recorders[-1]
        checkpoints.append(take_step(*given, network=network))
    return checkpoints, recorders


MASKS = {"masks": mask_settings()}
DISTILLED = DistillationSettings(features=0.5, logits=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "train", "incremental"),
    [
        (SINGLE, {}, {}),
        (replace(SINGLE, head_bias=False), MASKS, {"rebalancing": "none", "auxiliary_weight": 0.0}),
        (NETWORK, {"averaging": 0.5}, {"rebalancing": "none", "distillation": DISTILLED}),
        (
            replace(NETWORK, head_bias=False),
            MASKS | {"averaging": 0.5},
            {"rebalancing": "classifier_learning", "distillation": DISTILLED},
        ),
    ],
)
def test_every_step_is_kept_and_read(
    network: NetworkSettings, train: dict[str, Any], incremental: dict[str, Any], tmp_path: Path
) -> None:
    checkpoints, _ = three_steps(network, train, **incremental)
    assert_saved(tmp_path, *checkpoints[1:])
    for step, checkpoint in enumerate(checkpoints[1:], start=1):
        assert len(checkpoint.network.extractors) == (step if network.expansion else 1)
        assert (checkpoint.network.head.bias is not None) is network.head_bias
        if not network.expansion and step > 1:  # the one extractor is trained at every step
            before, after = (weights(one.network.extractors[0]) for one in checkpoints[step - 1 : step + 1])
            assert all(not torch.equal(before[name], after[name]) for name in before.keys() & after.keys())
    if not network.expansion and "masks" not in train:
        extractor, head = checkpoints[3].network.extractors[0], checkpoints[3].network.head
        assert head.weight.shape == (5, 64)
        assert checkpoints[3].metadata.parameters == count_parameters(extractor) + 5 * 64 + 5


@pytest.mark.slow
def test_what_is_distilled_stays_nearer_to_the_previous_network() -> None:
    before = take_step(None, NAMES[:1], training_images(0, [9, 9]), train_settings())
    images = training_images(0, [3, 3, 9, 9])
    known = run_network(before.network, NORMALIZATION, images.pixels.copy()[:6], CPU)  # of old classes

    def gaps(**weights: float) -> tuple[float, float]:
        """Of the new features to the old ones, and of the scores for old classes to the previous ones."""
        phase = incremental_settings(
            epochs=40, rebalancing="none", distillation=DistillationSettings(**weights)
        )
        taken = take_step(before, NAMES[:2], images, train_settings(incremental=phase))
        found = run_network(taken.network, NORMALIZATION, images.pixels.copy()[:6], CPU)
        learned, aims = (torch.from_numpy(one.logits[:, :2]) for one in (found, known))
        divergence = F.kl_div(learned.log_softmax(1), aims.softmax(1), reduction="batchmean")
        return float(np.square(found.features[:, 64:] - known.features).mean()), float(divergence)

    plain, features, logits = gaps(), gaps(features=3.0), gaps(logits=3.0)
    assert features[0] < 0.5 * plain[0] and logits[1] < 0.5 * plain[1]


def test_a_recipe_is_silent_on_what_is_off() -> None:
    off = incremental_settings(distillation=DistillationSettings(0.0, 0.0))
    recipe = to_values(train_settings(incremental=off).recipe(2))
    assert "averaging" not in recipe and "distillation" not in recipe["incremental"]
    on = incremental_settings(distillation=DISTILLED)
    recipe = to_values(train_settings(incremental=on, averaging=0.5).recipe(2))
    assert recipe["averaging"] == 0.5
    assert recipe["incremental"]["distillation"] == {"features": 0.5, "logits": 0.5}


def learn(
    keeper: MemoryKeeper, listener: Recorder | None = None, warmup: int = 2, rate: float = 0.05
) -> Network:
    network = expand(random_network([2]), 2, NETWORK, CHANNELS, generator(0, "initialization", 2))
    phase = incremental_settings(epochs=4, warmup_epochs=warmup, reinitialize_heads=True, learning_rate=rate)
    run = step_run(2, train_settings(incremental=phase), listener=listener, keeper=keeper)
    learn_representation(run, network, IMAGES, NETWORK)
    return network


def test_the_classifier_is_drawn_anew_when_warm_up_ends() -> None:
    for warmup in (1, 3):
        network = learn(MemoryKeeper(), warmup=warmup, rate=1e-30)  # at which nothing else moves it
        drawn = nn.Linear(network.head.in_features, network.classes)
        torch_uniform(drawn, generator(0, "heads after warm-up", 2))
        assert same_bits(weights(network.head), weights(drawn))


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_phase_resumed_around_that_epoch_gives_the_same_bits(epochs: int) -> None:
    keeper, batches = MemoryKeeper(), 3  # of an epoch
    with pytest.raises(Killed):
        learn(keeper, Killer(batches * epochs))
    assert len(keeper.states["representation"].records) == epochs
    assert same_bits(weights(learn(keeper)), weights(learn(MemoryKeeper())))


THREE_EPOCHS = train_settings(base=phase_settings(epochs=3))


def teach(keeper: MemoryKeeper | None = None, listener: Recorder | None = None) -> Checkpoint:
    return take_step(
        None, [["a", "b"]], training_images(1, [9, 8]), THREE_EPOCHS, listener, dropping.SETTINGS, keeper
    )


def test_a_resumed_step_gives_the_same_bits_whatever_was_drawn_before() -> None:
    keeper = MemoryKeeper()
    with pytest.raises(Killed):
        teach(keeper, Killer(4))
    torch.rand(3)
    resumed, whole = teach(keeper), teach()
    assert same_bits(weights(resumed.network), weights(whole.network))


@pytest.mark.parametrize(
    ("epochs", "images", "batch_size", "side", "precision", "worth"),
    [
        (201, 12_500, 128, 32, "bfloat16", True),  # of the notebook's experiment
        (40, 576, 32, 8, "float32", False),  # the digits: seconds
        (4000, 5760, 32, 8, "float32", False),  # long, but small batches
        (1, 600, 128, 32, "float32", False),  # large batches, but seconds
        (2, 1000, 16, 224, "float32", True),
        (2, 1000, 16, 224, "bfloat16", False),
    ],
)
def test_long_trainings_with_large_batches_are_worth_compiling(
    epochs: int, images: int, batch_size: int, side: int, precision: Precision, worth: bool
) -> None:
    schedule = phase_settings(epochs=epochs, batch_size=batch_size)
    assert worth_compiling(schedule, images, side, precision) == worth


LONG = phase_settings(epochs=10_000, batch_size=1024)


def large(count: int = 600) -> TrainingImages:
    return gather_step([np.zeros((count, 8, 8, 1), np.uint8)], empty_memory())


@pytest.mark.slow
def test_without_a_compiler_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(processor, "COMPILERS", ("no-such-compiler", "nor-this"))
    processor.compile_source.cache_clear()
    assert choose_kernels(NETWORK, LONG, large(), "float32", CPU, heard.append) is None
    assert heard == [
        "there is no C++ compiler, neither no-such-compiler nor nor-this; training goes on without, and "
        "takes up to 1.5 times as long: install g++"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_with_kernels_gives_the_same_bits(precision: str, kernels: Kernels) -> None:
    settings = train_settings(precision=precision)

    def step_one(listener: Recorder, keeper: MemoryKeeper, kernels: Kernels | None) -> Weights:
        done = take_step(None, class_names(1), DATA[0], settings, listener, keeper=keeper, kernels=kernels)
        assert isinstance(done.metadata, Metadata)
        return weights(done.network)

    whole, again = (step_one(Recorder(), MemoryKeeper(), kernels) for _ in range(2))
    keeper, resumed = MemoryKeeper(), Recorder()
    with pytest.raises(Killed):
        step_one(Killer(4), keeper, kernels)
    assert same_bits(step_one(resumed, keeper, kernels), whole) and resumed.resumed == [1]
    assert same_bits(again, whole)
    # Other arithmetic, but the same numbers up to rounding.
    plain = step_one(Recorder(), MemoryKeeper(), None)
    assert 0 < largest_difference(plain, whole) < (1e-3 if precision == "float32" else 0.3)
