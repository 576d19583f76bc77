"""Small networks, images and settings for tests of the method."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor, nn

from der.core.device import choose_precision
from der.data.arrays import empty_memory
from der.model.architecture import Normalization
from der.model.backbones import choose_backbone
from der.model.checkpoint import (
    FORMAT,
    RESIZE,
    Checkpoint,
    Metadata,
    load_checkpoint,
    save_checkpoint,
    save_empty_checkpoint,
)
from der.model.kernels.processor import Kernels
from der.model.network import Extractor, Network, build_extractor, count_parameters, empty_network, expand
from der.model.resnet import ResNet
from der.settings.sections import (
    AugmentationSettings,
    ClassifierSettings,
    IncrementalSettings,
    MaskSettings,
    MemorySettings,
    NetworkSettings,
    PhaseSettings,
    TrainSettings,
)
from der.train.batches import Draws, Feed, TrainingImages, draw_epoch, gather_step
from der.train.engine import Engine, StepRun
from der.train.log import EpochRecord, Listener
from der.train.objective import ChannelMasks, Distillation, RepresentationObjective
from der.train.resume import Saved, StateKeeper
from der.train.step import StepInputs, learn_representation, train_step

SIDE = 8  # pixels
CHANNELS = 3
CPU = torch.device("cpu")
NORMALIZATION = Normalization([0.5, 0.4, 0.6], [0.25, 0.3, 0.2])

Weights = dict[str, torch.Tensor]


def defaults(kind: Callable[..., Any], **values: Any) -> Callable[..., Any]:
    """What makes settings of a kind: ``values``, but for the changes that it is given."""
    return lambda **changes: kind(**(values | changes))


# The smallest extractor.
network_settings = defaults(
    NetworkSettings,
    **{"backbone": "cifar_resnet", "depth": 8, "stem": "small", "head_bias": True, "inherit_head": True},
    **{"head_initialization": "torch_uniform", "expansion": True, "mean": None, "std": None},
)
NETWORK = network_settings()
RESNET18 = network_settings(backbone="resnet", depth=18, head_bias=False)
# Every kind on but the resized crop.
augmentation_settings = defaults(
    AugmentationSettings, resized_crop=None, crop_padding=1, horizontal_flip=True, brightness=0.25
)
NO_AUGMENTATION = augmentation_settings(crop_padding=0, horizontal_flip=False, brightness=0.0)
# A short phase.
SCHEDULE: dict[str, Any] = {
    **{"epochs": 2, "learning_rate": 0.05, "milestones": [1], "decay": 0.1, "weight_decay": 5e-4},
    **{"momentum": 0.9, "batch_size": 8, "warmup_epochs": 0},
}
phase_settings = defaults(PhaseSettings, **SCHEDULE, reinitialize_heads=False)
classifier_settings = defaults(ClassifierSettings, **SCHEDULE, temperature=5.0)
incremental_settings = defaults(
    IncrementalSettings,
    **SCHEDULE,
    reinitialize_heads=False,
    auxiliary_weight=1.0,
    rebalancing="weight_alignment",
    classifier=classifier_settings(),
)
# Masks that leave about half of the channels.
mask_settings = defaults(
    MaskSettings,
    **{"sparsity_weight": 1.0, "sharpness": 400.0, "rate_factor": 10.0},
    **{"start_mean": 0.0, "start_deviation": 0.5},
)
memory_settings = defaults(MemorySettings, budget=15, allocation="total", selection="herding", seed=0)
# Two epochs for either phase, every augmentation on.
train_settings = defaults(
    TrainSettings,
    **{"seed": 0, "precision": "float32", "augmentation": augmentation_settings(), "masks": None},
    **{"base": phase_settings(), "incremental": incremental_settings()},
)


def random_images(seed: int, count: int, side: int = SIDE, channels: int = CHANNELS) -> NDArray[np.uint8]:
    """Noise (count, side, side, channels)."""
    return np.random.RandomState(seed).randint(0, 256, (count, side, side, channels)).astype(np.uint8)


def training_images(seed: int, per_class: Sequence[int]) -> TrainingImages:
    """Noise with ``per_class[label]`` images of each label, one array per label."""
    arrays = [random_images(1000 * seed + label, count) for label, count in enumerate(per_class)]
    return gather_step(arrays, empty_memory())


def random_extractor(seed: int, channels: int = CHANNELS, settings: NetworkSettings = NETWORK) -> ResNet:
    """An extractor with random weights, and batch normalisation that has something to undo."""
    generator = torch.Generator().manual_seed(seed)
    extractor = build_extractor(settings, channels)
    assert isinstance(extractor, ResNet)
    choose_backbone(settings).initialize(extractor, generator)
    for module in extractor.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return extractor.eval()


def random_network(classes_per_step: Sequence[int], seed: int = 0) -> Network:
    """A network in evaluation mode with one extractor per entry of ``classes_per_step``."""
    network = empty_network()
    for step, classes in enumerate(classes_per_step, start=1):
        generator = torch.Generator().manual_seed(100 * seed + step)
        grown = expand(network, classes, NETWORK, CHANNELS, generator)
        network = Network([*network.extractors, random_extractor(100 * seed + step)], grown.head)
    return network.eval()


def random_checkpoint(classes_per_step: Sequence[int], seed: int = 0) -> Checkpoint:
    """``random_network`` with its metadata; classes are named "class 0" and so on."""
    network = random_network(classes_per_step, seed)
    names = iter(f"class {label}" for label in range(sum(classes_per_step)))
    metadata = Metadata(
        format=FORMAT,
        steps=[[next(names) for _ in range(classes)] for classes in classes_per_step],
        image_side=SIDE,
        channels=CHANNELS,
        resize=RESIZE,
        normalization=NORMALIZATION,
        network=NETWORK,
        recipes=[train_settings().recipe(step) for step in range(1, len(classes_per_step) + 1)],
        shapes=[None] * len(classes_per_step),
        parameters=count_parameters(network),
        parameters_trained=1,
        gamma=0.1 if len(classes_per_step) > 1 else None,
    )
    return Checkpoint(network, metadata)


def save_steps(place: Path, *checkpoints: Checkpoint) -> Path:
    """Save the checkpoints of step 0, 1, ... beside each other; returns the directory of the last."""
    save_empty_checkpoint(place / "0")
    for step, checkpoint in enumerate(checkpoints, start=1):
        save_checkpoint(place / str(step), checkpoint, place / str(step - 1))
    return place / str(len(checkpoints))


def assert_saved(place: Path, *checkpoints: Checkpoint) -> None:
    """Saved as the steps 1, 2, ..., checkpoints are read as they were."""
    save_steps(place, *checkpoints)
    for step, checkpoint in enumerate(checkpoints, start=1):
        read = load_checkpoint(place / str(step))
        assert read.metadata == checkpoint.metadata
        assert same_bits(weights(read.network), weights(checkpoint.network))


def build_objective(
    network: Network,
    old_classes: int,
    auxiliary_weight: float = 1.0,
    masks: ChannelMasks | None = None,
    distillation: Distillation | None = None,
) -> RepresentationObjective:
    """The objective that trains the newest extractor of ``network`` and its classifier."""
    torch_generator = torch.Generator().manual_seed(7)
    auxiliary = nn.Linear(64, network.classes - old_classes + 1)
    for parameter in auxiliary.parameters():
        nn.init.normal_(parameter, generator=torch_generator)
    layers = network.extractors[-1], network.head, auxiliary
    return RepresentationObjective(*layers, auxiliary_weight, masks, distillation)


def build_engine(
    objective: nn.Module,
    frozen: Sequence[Extractor],
    images: TrainingImages,
    phase: PhaseSettings,
    augmentation: AugmentationSettings = NO_AUGMENTATION,
    precision: str = "float32",
    masks: ChannelMasks | None = None,
    device: torch.device = CPU,
) -> Engine:
    """The one place where tests make an engine, for images of NORMALIZATION."""
    feed = Feed(images, frozen, NORMALIZATION, augmentation, choose_precision(precision, device, ""), device)
    return Engine(objective, feed, phase, masks)


def weights(module: nn.Module) -> Weights:
    """A copy of all parameters and buffers."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def same_bits(left: Weights, right: Weights) -> bool:
    """Whether both hold the same names and values."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def largest_difference(left: Weights, right: Weights) -> float:
    """Over all values of both."""
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


class Recorder(Listener):
    """A listener that keeps all it hears."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int, int]] = []  # name, epochs, images
        self.resumed: list[int] = []
        self.batches: list[int] = []
        self.records: list[EpochRecord] = []

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        self.phases.append((name, epochs, images))

    def on_resume(self, epochs: int) -> None:
        self.resumed.append(epochs)

    def on_images(self, images: int) -> None:
        self.batches.append(images)

    def on_epoch(self, record: EpochRecord) -> None:
        self.records.append(record)


class Killed(Exception):
    """In place of a signal."""


class Killer(Recorder):
    """Ends the run during the batch after so many batches."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def on_images(self, images: int) -> None:
        if not self.left:
            raise Killed
        self.left -= 1


class MemoryKeeper(StateKeeper):
    """A keeper of training state that forgets with the process."""

    def __init__(self) -> None:
        self.states: dict[str, Saved] = {}

    def load(self, phase: str) -> Saved | None:
        return self.states.get(phase)

    def save(self, phase: str, records: list[EpochRecord], pack: Callable[[], Tensor], *, last: bool) -> None:
        self.states[phase] = Saved(list(records), pack())


def draws_of(
    images: int, augmentation: AugmentationSettings, seed: int = 0, step: int = 1, epoch: int = 0
) -> Draws:
    """The draws of an epoch of representation learning."""
    return draw_epoch(images, augmentation, seed, "representation", step, epoch)


def step_run(
    old_classes: int,
    settings: TrainSettings,
    step: int = 2,
    listener: Recorder | None = None,
    keeper: MemoryKeeper | None = None,
) -> StepRun:
    """A step on the CPU with NORMALIZATION."""
    listener, keeper = listener or Recorder(), keeper or MemoryKeeper()
    return StepRun(step, old_classes, NORMALIZATION, settings, CPU, listener, keeper)


def learn(
    network: Network, old_classes: int, images: TrainingImages, settings: TrainSettings, listener: Recorder
) -> int:
    """Representation learning on the CPU; returns the number of parameters trained."""
    run = step_run(old_classes, settings, listener=listener)
    return learn_representation(run, network, images, NETWORK)[2]


def take_step(
    previous: Checkpoint | None,
    steps: list[list[str]],
    images: TrainingImages,
    settings: TrainSettings,
    listener: Recorder | None = None,
    network: NetworkSettings | None = None,
    keeper: MemoryKeeper | None = None,
    kernels: Kernels | None = None,
) -> Checkpoint:
    """``train_step`` on the CPU, with NORMALIZATION if ``network`` is not given."""
    network = network or replace(NETWORK, mean=NORMALIZATION.mean, std=NORMALIZATION.std)
    inputs = StepInputs(previous, steps, images, network, settings, CPU, kernels=kernels)
    return train_step(inputs, listener or Recorder(), keeper or MemoryKeeper()).checkpoint
