"""timm's smallest models, with weights as a file would have them."""

from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from der.data.arrays import empty_memory
from der.model.checkpoint import Checkpoint
from der.model.weights import Start, read_start
from der.settings.sections import NetworkSettings
from der.train.batches import TrainingImages, gather_step
from der.train.step import StepInputs, train_step
from tests import builders

NAME = "test_efficientnet"
BACKBONE = f"timm:{NAME}"
SIDE = 32  # pixels
STEPS = [["a", "b"], ["c"]]


@cache
def whole_model(name: str = NAME) -> nn.Module:
    """The model with its classifier; batch normalisation has something to undo."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = timm.create_model(name, num_classes=5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model.eval()


def write_weights(directory: Path, name: str = NAME) -> Path:
    """A file as torch.save makes it."""
    path = directory / f"{name}.pth"
    torch.save(whole_model(name).state_dict(), path)
    return path


def settings_for(path: Path, **changes: Any) -> NetworkSettings:
    return builders.network_settings(**{"backbone": BACKBONE, "weights": str(path), **changes})


def start_for(settings: NetworkSettings) -> Start:
    assert settings.weights is not None
    return read_start(settings, settings.weights)


def images(seed: int, *per_class: int) -> TrainingImages:
    arrays = [
        builders.random_images(1000 * seed + label, count, SIDE) for label, count in enumerate(per_class)
    ]
    return gather_step(arrays, empty_memory())


SETTINGS = builders.train_settings(base=builders.phase_settings(batch_size=4, epochs=2))


def teach(
    settings: NetworkSettings,
    keeper: builders.MemoryKeeper | None = None,
    listener: builders.Recorder | None = None,
) -> list[Checkpoint]:
    """Two steps; ``keeper`` and ``listener`` are of the first."""
    start = start_for(settings) if settings.weights else None
    listener, keeper = listener or builders.Recorder(), keeper or builders.MemoryKeeper()
    inputs = StepInputs(None, STEPS[:1], images(1, 4, 4), settings, SETTINGS, builders.CPU, start)
    first = train_step(inputs, listener, keeper).checkpoint
    return [first, learn_second(first, settings)]


def learn_second(first: Checkpoint, settings: NetworkSettings) -> Checkpoint:
    inputs = StepInputs(first, STEPS, images(2, 3, 3, 6), settings, SETTINGS, builders.CPU)
    return train_step(inputs, builders.Recorder(), builders.MemoryKeeper()).checkpoint
