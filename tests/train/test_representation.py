"""Batches that representation learning refuses, and the turns on the cores that it takes."""

from typing import Any

import pytest
import torch

from der.core import cores
from der.core.errors import UserError
from der.data.arrays import every_row
from der.train.engine import Engine
from der.train.batches import TrainingImages
from tests.builders import (
    CHANNELS,
    Recorder,
    incremental_settings,
    learn,
    mask_settings,
    phase_settings,
    random_images,
    random_network,
    train_settings,
    training_images,
)

ONE_PIXEL = 4  # of side: the extractor reduces it to one pixel


def images_of(side: int) -> TrainingImages:
    """Five images, of three classes."""
    labels = training_images(0, [2, 2, 1]).labels
    return TrainingImages(every_row([random_images(0, 5, side, CHANNELS)]), labels)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize(("phase", "old_classes"), [("base", 0), ("incremental", 2)])
def test_a_batch_of_one_value_per_channel_is_refused(batch_size: int, phase: str, old_classes: int) -> None:
    settings = train_settings(
        base=phase_settings(batch_size=batch_size if phase == "base" else 5),
        incremental=incremental_settings(batch_size=batch_size if phase == "incremental" else 5),
    )
    message = (
        rf"^train\.{phase}\.batch_size: {batch_size} leaves a batch of one of 5 images, too small for batch "
        r"normalisation at 4 pixels; write another number$"
    )
    with pytest.raises(UserError, match=message):
        learn(random_network([3]), old_classes, images_of(ONE_PIXEL), settings, Recorder())


@pytest.mark.parametrize(("side", "batch_size"), [(ONE_PIXEL, 3), (ONE_PIXEL, 5), (8, 1), (8, 4)])
def test_other_batches_are_trained_on(side: int, batch_size: int) -> None:
    recorder = Recorder()
    settings = train_settings(base=phase_settings(batch_size=batch_size, epochs=1, milestones=[]))
    learn(random_network([3]), 0, images_of(side), settings, recorder)
    assert sum(recorder.batches) == 5


def test_the_pass_that_renews_statistics_is_a_turn_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[bool] = []
    usual = Engine.estimate_statistics

    def estimate(*given: Any) -> None:
        with cores.turn(torch.device("cpu")) as inner:
            passes.append(isinstance(inner, cores.NoTurn))  # part of another
        usual(*given)

    monkeypatch.setattr(Engine, "estimate_statistics", estimate)
    settings = train_settings(base=phase_settings(epochs=1, milestones=[]), masks=mask_settings())
    learn(random_network([3]), 0, images_of(8), settings, Recorder())
    assert passes == [True]
