"""When a step is trained by compiled kernels, and that a run with them keeps every promise."""

import numpy as np
import pytest
import torch

from der.core.precision_names import Precision
from der.data.exemplars import empty_memory
from der.model.checkpoint import Metadata
from der.model.kernels import processor
from der.model.kernels.processor import Kernels, compiled_kernels
from der.settings.presets import preset
from der.train.processor_kernels import choose_kernels, worth_compiling
from der.train.training_images import TrainingImages, gather_step
from tests.builders import (
    CPU,
    NETWORK,
    RESNET18,
    Killed,
    Killer,
    MemoryKeeper,
    Recorder,
    Weights,
    largest_difference,
    network_settings,
    phase_settings,
    same_bits,
    take_step,
    train_settings,
    weights,
)
from tests.model.tiny_timm import BACKBONE
from tests.train.textbook import DATA, class_names


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


def test_without_a_compiler_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(processor, "COMPILERS", ("no-such-compiler", "nor-this"))
    processor.compile_source.cache_clear()
    assert choose_kernels(NETWORK, LONG, large(), "float32", CPU, heard.append) is None
    assert heard == [
        "there is no C++ compiler, neither no-such-compiler nor nor-this; training goes on without, and "
        "takes up to 1.5 times as long: install g++"
    ]


def test_where_they_are_not_wanted_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("der.train.processor_kernels.compiled_kernels", None)
    for schedule, device in ((LONG, torch.device("cuda")), (phase_settings(), CPU)):
        assert choose_kernels(NETWORK, schedule, large(), "float32", device, pytest.fail) is None


def test_networks_without_layers_for_them_do_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("der.train.processor_kernels.compiled_kernels", lambda: "kernels")
    for network in (RESNET18, NETWORK):
        assert choose_kernels(network, LONG, large(), "float32", CPU, pytest.fail) == "kernels"  # type: ignore[comparison-overlap]
    assert (
        choose_kernels(network_settings(backbone=BACKBONE), LONG, large(), "float32", CPU, pytest.fail)
        is None
    )


def test_they_are_compiled_once(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    once = compiled_kernels()  # perhaps anew, for a test that has none forgets those of others
    monkeypatch.setattr("subprocess.run", None)
    assert choose_kernels(NETWORK, LONG, large(), "float32", CPU, pytest.fail) == once == compiled_kernels()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_gives_the_bits_of_one_that_was_not_interrupted(
    precision: str, kernels: Kernels
) -> None:
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


def test_the_presets_of_colour_images_are_worth_it() -> None:
    settings = preset("notebook")
    train, side = settings.train, settings.dataset.image_side
    assert side and worth_compiling(train.phase(1), 12_500, side, train.precision)
    assert not worth_compiling(preset("digits").train.phase(1), 576, 8, "float32")
