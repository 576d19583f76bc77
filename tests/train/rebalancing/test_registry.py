"""Rebalancings by name."""

import pytest
import torch

from der.core.errors import UserError
from der.model.network import Network
from der.train.log import EpochRecord
from der.train.rebalancing import REBALANCINGS, Rebalanced
from der.train.phase import StepRun
from der.train.batches import TrainingImages
from tests.builders import (
    Recorder,
    incremental_settings,
    random_checkpoint,
    take_step,
    train_settings,
    training_images,
)

NAMES = [["a", "b"], ["c"]]
IMAGES = training_images(0, [3, 3, 8])
RECORD = EpochRecord("own", 1, 0.5, 1.5, 0.0, 50.0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[StepRun]:
    """How the rebalancing "own", which sets the classifier to 7, was called."""
    calls: list[StepRun] = []

    def own(run: StepRun, network: Network, images: TrainingImages) -> Rebalanced:
        assert images is IMAGES
        calls.append(run)
        with torch.no_grad():
            network.head.weight.fill_(7)
        return Rebalanced([RECORD], gamma=0.25)

    monkeypatch.setitem(REBALANCINGS, "own", own)
    return calls


def test_one_of_ones_own_runs_after_the_representation(calls: list[StepRun]) -> None:
    settings = train_settings(incremental=incremental_settings(rebalancing="own"))
    recorder = Recorder()
    checkpoint = take_step(random_checkpoint([2]), NAMES, IMAGES, settings, recorder)
    (run,) = calls
    assert (run.step, run.old_classes) == (2, 2)
    assert recorder.phases == [("representation", 2, 14)]
    assert checkpoint.metadata.gamma == 0.25
    assert checkpoint.network.head.weight.eq(7).all()


def test_the_first_step_is_not_rebalanced(calls: list[StepRun]) -> None:
    settings = train_settings(incremental=incremental_settings(rebalancing="own"))
    images = training_images(0, [5, 5])
    checkpoint = take_step(None, NAMES[:1], images, settings)
    assert not calls
    assert checkpoint.metadata.gamma is None


def test_a_name_that_stands_for_nothing_is_refused_before_training() -> None:
    settings = train_settings(incremental=incremental_settings(rebalancing="align"))
    recorder = Recorder()
    message = (
        r"^train\.incremental\.rebalancing: 'align' does not fit; write weight_alignment or "
        r"classifier_learning or none, "
    )
    with pytest.raises(UserError, match=message):
        take_step(random_checkpoint([2]), NAMES, IMAGES, settings, recorder)
    assert recorder.phases == []
