"""Every phase of every preset runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from der.core import files
from der.core.files import seal
from der.core.randomness import generator
from der.data.arrays import class_file, empty_memory, read_classes
from der.memory import build_memory
from der.model.backbones import choose_backbone
from der.model.checkpoint import Checkpoint
from der.model.network import build_extractor, features_of
from der.model.weights import Start, tensors_of
from der.pipeline import project
from der.pipeline.edits import apply_preset
from der.pipeline.presets import parse_settings
from der.pipeline.project import read_task, read_text, write_chain
from der.settings.experiment import Settings
from der.settings.sections import TrainSettings
from der.train.batches import gather_step
from der.train.log import Listener
from der.train.resume import StateKeeper
from der.train.step import StepInputs, TrainedStep, train_step
from stages import split
from tests.pipeline.clones import NAMES, PROTOCOLS, TEN_BY_TEN, class_names, make_clone

CPU = torch.device("cpu")

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what presets read and write, as the current directory."""
    return make_clone(tmp_path, monkeypatch)


class UnheldCode:
    """In place of RunningCode: the code of a test, which no stage check has read."""

    def confirm(self) -> None:
        """It is what it is."""


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


def take(previous: Checkpoint | None, number: int, settings: Settings, memory: Any) -> TrainedStep:
    directory = project.train_images(number)
    steps = read_task(directory, number)
    images = gather_step(read_classes(directory, steps[-1]), memory)
    train = cut(settings.train)
    start = draw_start(settings) if previous is None and settings.network.weights else None
    inputs = StepInputs(previous, steps, images, settings.network, train, CPU, start)
    return train_step(inputs, Listener(), StateKeeper())


def draw_start(settings: Settings) -> Start:
    """Random weights in place of those that would be downloaded."""
    extractor = build_extractor(settings.network, settings.dataset.channels)
    choose_backbone(settings.network).initialize(extractor, generator(0, "start", 1))
    return Start(tensors_of(extractor))


@pytest.mark.parametrize("name", NAMES)
def test_every_phase_runs(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Split, then both steps' phases, on noise: two images a class, of fewer pixels but the same network."""
    first, later, count = PROTOCOLS.get(name, TEN_BY_TEN)
    monkeypatch.setattr(files, "_flush", lambda path: None)  # thousands of files, and no power cut here
    apply_preset(name)
    write_chain(count)  # which a preset does itself where it knows the classes
    settings = parse_settings(read_text())
    side = 32 if settings.network.stem == "large" else 8
    stream = np.random.RandomState(0)
    for part, images in (("train", 2), ("test", 1)):
        (project.RAW / part).mkdir(parents=True)
        for one in class_names(settings):
            noise = stream.randint(0, 256, (images, side, side, settings.dataset.channels)).astype(np.uint8)
            np.save(project.RAW / part / class_file(one), noise)
        seal(project.RAW / part, {})
    assert split.run(UnheldCode()).startswith(f"split: {count} steps of {first}")

    trained = take(None, 1, settings, empty_memory())
    assert {record.phase for record in trained.records} == {"representation"}
    check(trained, settings, first, 1)
    if count == 1:
        return
    metadata = trained.checkpoint.metadata
    classes = read_classes(project.train_images(1), metadata.steps[0])
    memory = build_memory(
        empty_memory(),
        classes,
        settings.memory,
        features_of(trained.checkpoint.network, trained.checkpoint.metadata.normalization, CPU),
    )
    trained = take(trained.checkpoint, 2, settings, memory)
    rebalancing = settings.train.incremental.rebalancing
    phases = ["representation", *(["classifier"] if rebalancing == "classifier_learning" else [])]
    assert list(dict.fromkeys(record.phase for record in trained.records)) == phases
    check(trained, settings, first + later, 2 if settings.network.expansion else 1)
    gamma = trained.checkpoint.metadata.gamma
    assert (gamma is not None) == (rebalancing == "weight_alignment")


def check(trained: TrainedStep, settings: Settings, classes: int, extractors: int) -> None:
    """What the preset asks for is in the network."""
    network, metadata = trained.checkpoint.network, trained.checkpoint.metadata
    assert (network.classes, len(network.extractors)) == (classes, extractors)
    assert (network.head.bias is not None) == settings.network.head_bias
    assert all((shape is not None) == (settings.train.masks is not None) for shape in metadata.shapes)
    assert all(np.isfinite(record.loss) for record in trained.records)
