"""Compression: its loss beside a plain formula, what it starts from, and that a killed one ends the same."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn

from der.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from der.model.network import count_parameters
from der.settings.sections import CompressSettings
from der.train.batches import TrainingImages
from der.train.compress import CompressionObjective, class_weights, compress
from tests import builders

SETTINGS = CompressSettings(epochs=5, batch_size=8, learning_rate=0.02)
IMAGES = builders.training_images(0, [3, 3, 8, 9])
WHOLE = builders.random_checkpoint([2, 2])


def compressed(
    listener: builders.Recorder | None = None,
    keeper: builders.MemoryKeeper | None = None,
    whole: Checkpoint = WHOLE,
    images: TrainingImages = IMAGES,
    settings: CompressSettings = SETTINGS,
) -> Checkpoint:
    return compress(
        builders.step_run(0, builders.train_settings(), 2, listener, keeper), whole, images, settings
    )


def test_the_loss_is_the_cross_entropy_with_weighted_softened_outputs() -> None:
    torch.manual_seed(0)
    own, whole, temperature, class_weight = nn.Linear(4, 3), nn.Linear(6, 3), 2.5, [0.5, 1.0, 1.5]
    objective = CompressionObjective(nn.Identity(), own, whole, torch.tensor(class_weight), temperature)
    images, frozen, labels = torch.randn(5, 4), torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])
    expected = 0.0
    for image, features in zip(images, frozen, strict=True):
        soft = [
            weight * math.exp(logit / temperature)
            for weight, logit in zip(class_weight, whole(features).tolist(), strict=True)
        ]
        powers = [math.exp(logit / temperature) for logit in own(image).tolist()]
        expected -= sum(
            p / sum(soft) * math.log(q / sum(powers)) for p, q in zip(soft, powers, strict=True)
        ) / len(images)
    loss = objective(images, frozen, labels, torch.tensor(0.0))
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    assert loss.correct.item() == (own(images).argmax(1) == labels).float().mean().item()
    loss.total.backward()
    assert own.weight.grad is not None and whole.weight.grad is None
    assert [value.requires_grad for value in objective.whole.parameters()] == [False, False]


def test_classes_weigh_one_over_their_effective_number_of_images() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1])
    effective = [1 + 0.5, 1 + 0.5 + 0.25 + 0.125]  # each image adds half of what the one before adds
    mean = sum(1 / one for one in effective) / 2
    expected = torch.tensor([1 / one / mean for one in effective])
    torch.testing.assert_close(class_weights(labels, 0.5), expected)
    assert class_weights(labels, 0.0).tolist() == [1.0, 1.0]


def test_one_extractor_learns_the_outputs_and_no_label() -> None:
    before, recorder = builders.weights(WHOLE.network), builders.Recorder()
    alike = replace(SETTINGS, beta=0.0)
    made = compressed(recorder, settings=alike)
    assert builders.same_bits(builders.weights(WHOLE.network), before)
    assert recorder.records[-1].loss < recorder.records[0].loss
    other = TrainingImages(IMAGES.pixels, np.roll(IMAGES.labels, 7))
    assert builders.same_bits(
        builders.weights(compressed(images=other, settings=alike).network), builders.weights(made.network)
    )
    assert not builders.same_bits(
        builders.weights(compressed(images=other).network), builders.weights(made.network)
    )


def test_it_starts_as_the_first_extractor_and_its_part_of_the_classifier() -> None:
    slow = replace(SETTINGS, epochs=1, learning_rate=1e-12)
    network, whole = compressed(settings=slow).network, WHOLE.network
    for own, first in zip(network.extractors[0].parameters(), whole.extractors[0].parameters(), strict=True):
        torch.testing.assert_close(own, first)
    torch.testing.assert_close(network.head.weight, whole.head.weight[:, :64])
    torch.testing.assert_close(network.head.bias, whole.head.bias)


def test_a_killed_one_goes_on_to_the_same_bits() -> None:
    keeper, listener = builders.MemoryKeeper(), builders.Recorder()
    with pytest.raises(builders.Killed):
        compressed(builders.Killer(2 * 3 + 1), keeper)  # in the third epoch of three batches
    resumed = compressed(listener, keeper)
    assert listener.resumed == [2]
    assert builders.same_bits(builders.weights(resumed.network), builders.weights(compressed().network))


def test_a_pruned_extractor_is_kept_and_read(tmp_path: Path) -> None:
    masked = builders.train_settings(masks=builders.mask_settings())
    first = builders.take_step(None, [["a", "b"]], builders.training_images(0, [4, 4]), masked)
    whole = builders.take_step(first, [["a", "b"], ["c", "d"]], IMAGES, masked)
    made = compressed(whole=whole)
    save_checkpoint(tmp_path / "made", made)
    read = load_checkpoint(tmp_path / "made")
    assert read.metadata == made.metadata and builders.same_bits(
        builders.weights(read.network), builders.weights(made.network)
    )
    assert read.metadata.shapes == whole.metadata.shapes[:1] != [None]
    assert read.metadata.parameters == count_parameters(read.network) < whole.metadata.parameters
    assert read.metadata.steps == whole.metadata.steps and read.metadata.compressed == SETTINGS
    alone = compressed(whole=first, images=builders.training_images(0, [4, 4]))
    assert builders.same_bits(builders.weights(alone.network), builders.weights(first.network))
