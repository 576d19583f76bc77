"""Every phase of every preset runs."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from der.core.randomness import generator
from der.data.arrays import Memory, empty_memory
from der.memory import build_memory
from der.model.backbones import choose_backbone
from der.model.checkpoint import Checkpoint
from der.model.network import build_extractor, features_of
from der.model.weights import Start, tensors_of
from der.settings.experiment import Settings
from der.settings.sections import TrainSettings
from der.train.batches import gather_step
from der.train.log import Listener
from der.train.resume import StateKeeper
from der.train.step import StepInputs, TrainedStep, train_step
from tests.builders import CPU, random_images
from tests.pipeline.clones import NAMES, settings_of

STEPS = [["ant", "bee"], ["cat", "dog"]]
WHOLE = (
    "digits",
    "paper_b0_10",
    "imagenet100_b0_10",
    "photos_tuned",
)  # of every backbone, stem and depth one

pytestmark = pytest.mark.slow


def cut_phase(phase: Any) -> Any:
    """One epoch, or one of warm-up and one after."""
    warmup = min(1, phase.warmup_epochs)
    return replace(phase, epochs=1 + warmup, warmup_epochs=warmup, milestones=[])


def cut(settings: TrainSettings) -> TrainSettings:
    """As short as training can be, in float32: CPUs are slow otherwise."""
    later = cut_phase(settings.incremental)
    later = replace(later, classifier=cut_phase(later.classifier))
    masks = settings.masks and replace(settings.masks, start_mean=0.0)  # no time to fall from higher
    return replace(
        settings, precision="float32", base=cut_phase(settings.base), incremental=later, masks=masks
    )


def draw_start(settings: Settings) -> Start:
    """Random weights in place of those that would be downloaded."""
    extractor = build_extractor(settings.network, settings.dataset.channels)
    choose_backbone(settings.network).initialize(extractor, generator(0, "start", 1))
    return Start(tensors_of(extractor))


@pytest.mark.parametrize("name", sorted({*NAMES} - {"photos"}))  # which trains nothing
def test_every_phase_runs(name: str) -> None:
    """Two steps of two classes, of noise: two images a class, of fewer pixels."""
    settings = settings_of(name)
    if name not in WHOLE:
        small = replace(settings.network, backbone="cifar_resnet", depth=8, stem="small")
        settings = replace(settings, network=small)
    side = 32 if settings.network.stem == "large" else 8
    classes = [random_images(label, 2, side, settings.dataset.channels) for label in range(4)]

    def take(previous: Checkpoint | None, step: int, memory: Memory) -> TrainedStep:
        images = gather_step(classes[2 * step - 2 : 2 * step], memory)
        start = draw_start(settings) if previous is None and settings.network.weights else None
        train = cut(settings.train)
        inputs = StepInputs(previous, STEPS[:step], images, settings.network, train, CPU, start)
        return train_step(inputs, Listener(), StateKeeper())

    first = take(None, 1, empty_memory())
    checkpoint = first.checkpoint
    features = features_of(checkpoint.network, checkpoint.metadata.normalization, CPU)
    second = take(checkpoint, 2, build_memory(empty_memory(), classes[:2], settings.memory, features))
    rebalancing = settings.train.incremental.rebalancing
    learned = [] if rebalancing in ("none", "weight_alignment") else ["classifier"]
    for step, trained in enumerate((first, second), start=1):
        network, metadata = trained.checkpoint.network, trained.checkpoint.metadata
        phases = list(dict.fromkeys(record.phase for record in trained.records))
        assert phases == ["representation", *(learned if step == 2 else [])]
        extractors = step if settings.network.expansion else 1
        assert (network.classes, len(network.extractors)) == (2 * step, extractors)
        assert (network.head.bias is not None) == settings.network.head_bias
        assert all((shape is not None) == (settings.train.masks is not None) for shape in metadata.shapes)
        assert all(np.isfinite(record.loss) for record in trained.records)
    assert (second.checkpoint.metadata.gamma is not None) == (rebalancing == "weight_alignment")
