"""Training against the loop of a textbook (tests/train/textbook.py), on torch's own optimiser."""

import math

import pytest
import torch

from der.core.errors import UserError
from der.model.network import empty_network
from der.train import batches as batch_module
from der.train.engine import learning_rate
from tests.builders import (
    CHANNELS,
    NETWORK,
    Killed,
    Killer,
    MemoryKeeper,
    Recorder,
    largest_difference,
    phase_settings,
    same_bits,
    take_step,
    train_settings,
    weights,
)
from tests.train.textbook import (
    DATA,
    DRAWS,
    SETTINGS,
    Textbook,
    TextbookRun,
    class_names,
    run_steps,
    step_images,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs() -> list[TextbookRun]:
    return [run_steps(step_images(draw)) for draw in range(DRAWS)]


@pytest.fixture(scope="module")
def run(runs: list[TextbookRun]) -> TextbookRun:
    return runs[0]


def test_the_same_bits_as_the_textbook_over_three_steps(run: TextbookRun) -> None:
    textbook = Textbook(channels_last=True, fused=True, folded=True)
    network = empty_network()
    for step, images in enumerate(DATA, start=1):
        network, losses = textbook.train(network, images, step)
        aligned = network.head.weight  # gamma is one division: rounded differently by the two
        torch.testing.assert_close(aligned, run.networks[step].head.weight, rtol=1e-6, atol=0)
        with torch.no_grad():
            aligned.copy_(run.networks[step].head.weight)
        assert same_bits(weights(network), weights(run.networks[step]))
        assert losses == pytest.approx(run.losses(step), rel=1e-6)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_plain_textbook_differs_by_rounding(step: int, runs: list[TextbookRun]) -> None:
    textbook = Textbook(channels_last=False, fused=False, folded=False)
    differences = []
    for run in runs:
        network, losses = textbook.train(run.networks[step - 1], run.data[step - 1], step)
        assert losses == pytest.approx(run.losses(step), rel=1e-3)
        differences.append(largest_difference(weights(network), weights(run.networks[step])))
    assert min(differences) < 1e-5


# Of four epochs of three batches at step 1, and three of four at step 2.
@pytest.mark.parametrize(("step", "batches", "epochs"), [(1, 0, 0), (1, 11, 3), (2, 10, 2)])
def test_a_resumed_run_gives_the_same_bits(step: int, batches: int, epochs: int, run: TextbookRun) -> None:
    previous, keeper, listener = run.checkpoints[step - 1], MemoryKeeper(), Recorder()
    with pytest.raises(Killed):
        take_step(previous, class_names(step), DATA[step - 1], SETTINGS, Killer(batches), keeper=keeper)
    resumed = take_step(previous, class_names(step), DATA[step - 1], SETTINGS, listener, keeper=keeper)
    assert same_bits(weights(resumed.network), weights(run.networks[step]))
    assert resumed.metadata == run.checkpoints[step].metadata
    assert listener.resumed == [epochs] * (epochs > 0)
    assert listener.records == run.recorders[step - 1].records[epochs:]


def test_without_settings_the_first_step_measures_the_normalisation_for_all() -> None:
    checkpoint = None
    for step in (1, 2):
        images = DATA[step - 1]
        checkpoint = take_step(checkpoint, class_names(step), images, SETTINGS, network=NETWORK)
        pixels = DATA[0].pixels.copy() / 255
        assert checkpoint.metadata.normalization.mean == pytest.approx(pixels.mean((0, 1, 2)))
        assert checkpoint.metadata.normalization.std == pytest.approx(pixels.std((0, 1, 2)))


# Windows of two batches, and of less than one image, which is rounded up to one batch.
@pytest.mark.parametrize("batches", [2, 0])
def test_windows_change_the_rounding_alone(
    batches: int, runs: list[TextbookRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "WINDOW_VALUES", max(1, batches * 8 * 8 * 8 * CHANNELS))
    differences = []
    for run in runs:
        windowed = run_steps(run.data[:2])
        # Without frozen extractors there is nothing whose rounding could depend on the window.
        assert same_bits(weights(windowed.networks[1]), weights(run.networks[1]))
        differences.append(largest_difference(weights(windowed.networks[2]), weights(run.networks[2])))
        assert [one.batches for one in windowed.recorders] == [one.batches for one in run.recorders[:2]]
    assert min(differences) < 1e-5


@pytest.mark.parametrize("rate", [1e6, 1e30])
def test_an_update_that_diverges_after_the_last_loss_is_noticed(rate: float) -> None:
    settings = train_settings(base=phase_settings(epochs=1, milestones=[], batch_size=64, learning_rate=rate))
    with pytest.raises(UserError, match=r"^step 1: the trained network's scores are not finite; lower the"):
        take_step(None, class_names(1), DATA[0], settings)


def test_a_loss_that_is_not_finite_names_step_and_epoch() -> None:
    # One batch per epoch: the loss of epoch 1 is that of the start, before the first huge step.
    settings = train_settings(base=phase_settings(epochs=5, batch_size=64, learning_rate=1e30))
    recorder = Recorder()
    message = r"^step 1, representation, epoch 2: the loss is (nan|inf); lower the learning rate"
    with pytest.raises(UserError, match=message):
        take_step(None, class_names(1), DATA[0], settings, recorder)
    assert len(recorder.records) == 1
    assert math.isfinite(recorder.records[0].loss)


def test_the_rates_of_the_notebook() -> None:
    settings = phase_settings(epochs=201, learning_rate=0.1, milestones=[60, 120, 170], decay=0.1)
    rates = [learning_rate(settings, epoch) for epoch in range(201)]
    assert rates == pytest.approx([0.1] * 60 + [0.01] * 60 + [0.001] * 50 + [0.0001] * 31, rel=1e-12)
