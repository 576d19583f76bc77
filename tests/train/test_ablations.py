"""The ablations over three steps: each trains, and leaves a checkpoint that can be read."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from der.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, save_empty_checkpoint
from der.model.network import count_parameters
from der.settings.network import NetworkSettings
from tests.builders import (
    NETWORK,
    RESNET18,
    Recorder,
    incremental_settings,
    mask_settings,
    same_bits,
    take_step,
    train_settings,
    training_images,
    weights,
)

NAMES = [["a", "b"], ["c", "d"], ["e"]]
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


@pytest.mark.parametrize(
    ("network", "train", "incremental"),
    [
        (SINGLE, {}, {}),
        (SINGLE, MASKS, {"rebalancing": "classifier_learning"}),
        (replace(SINGLE, head_bias=False), MASKS, {"rebalancing": "none", "auxiliary_weight": 0.0}),
        (NETWORK, {}, {"rebalancing": "none"}),
        (replace(NETWORK, head_bias=False), MASKS, {"rebalancing": "classifier_learning"}),
    ],
)
def test_every_step_is_kept_and_read(
    network: NetworkSettings, train: dict[str, Any], incremental: dict[str, Any], tmp_path: Path
) -> None:
    checkpoints, _ = three_steps(network, train, **incremental)
    save_empty_checkpoint(tmp_path / "0")
    for step, checkpoint in enumerate(checkpoints[1:], start=1):
        save_checkpoint(tmp_path / str(step), checkpoint, tmp_path / str(step - 1))
        read = load_checkpoint(tmp_path / str(step))
        assert read.metadata == checkpoint.metadata
        assert same_bits(weights(read.network), weights(checkpoint.network))
        assert len(read.network.extractors) == (step if network.expansion else 1)
        assert (read.network.head.bias is not None) is network.head_bias


def test_without_expansion_the_one_extractor_is_trained_at_every_step() -> None:
    checkpoints, _ = three_steps(SINGLE)
    for previous, checkpoint in itertools.pairwise(checkpoints[1:]):
        before, after = weights(previous.network.extractors[0]), weights(checkpoint.network.extractors[0])
        assert all(not torch.equal(before[name], after[name]) for name in before)
    assert checkpoints[3].network.head.weight.shape == (5, 64)
    parameters = count_parameters(checkpoints[1].network.extractors[0])
    assert checkpoints[3].metadata.parameters == parameters + 5 * 64 + 5


def test_without_expansion_the_first_step_is_the_same() -> None:
    single, plain = three_steps(SINGLE)[0], three_steps()[0]
    assert same_bits(weights(single[1].network), weights(plain[1].network))
    assert not same_bits(weights(single[2].network.extractors[0]), weights(plain[2].network.extractors[1]))


def test_without_the_auxiliary_loss_there_is_none() -> None:
    for step, recorder in enumerate(three_steps(auxiliary_weight=0.0)[1], start=1):
        assert all(record.auxiliary_loss == 0 for record in recorder.records), step
    _, recorders = three_steps()
    assert all(record.auxiliary_loss > 0 for record in recorders[1].records)


def test_without_rebalancing_there_is_no_gamma_and_no_second_phase() -> None:
    checkpoints, recorders = three_steps(rebalancing="none")
    assert all(one.metadata.gamma is None for one in checkpoints[1:])
    assert all([name for name, _, _ in one.phases] == ["representation"] for one in recorders)


def test_joint_training_is_one_step() -> None:
    images = training_images(0, [5, 5, 5])
    recorder = Recorder()
    joint = take_step(None, [["a", "b", "c"]], images, train_settings(), recorder)
    assert len(joint.network.extractors) == 1
    assert joint.network.classes == 3
    assert all(record.auxiliary_loss == 0 for record in recorder.records)


def test_a_step_of_a_larger_resnet() -> None:
    settings = train_settings(masks=mask_settings())
    images = training_images(0, [4, 4])
    step = take_step(None, [["a", "b"]], images, settings, network=RESNET18)
    assert step.network.head.bias is None
    assert step.network.head.in_features == step.network.extractors[0].features < 512
