"""What is trained on: images, protocol and schedule, and the weights that every contender starts from.

# B batch, C channels, H and W pixels
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from der.core.randomness import generator
from der.data.arrays import empty_memory
from der.data.sources.registry import digits
from der.model.architecture import Normalization, measure_normalization
from der.model.network import Extractor, Network, Normalize, empty_network, expand, random_linear
from der.settings.sections import AugmentationSettings, DatasetSettings, NetworkSettings, ScheduleSettings
from der.train.batches import TrainingImages, gather_step

SEED = 0


@dataclass(frozen=True)
class Case:
    """Images and how they are learned."""

    name: str
    load: Callable[[], list[NDArray[np.uint8]]]  # training images (n, H, W, C) of every class, by label
    new_classes: tuple[int, ...]  # at every step
    memory: int  # exemplars in total
    augmentation: AugmentationSettings
    batch_size: int  # images
    repetitions: int  # epochs measured
    depth: int = 32  # of the ResNet
    large: bool = False  # its form for photographs
    frozen: tuple[
        int, ...
    ] = ()  # how many extractors are frozen where it is measured; none named: at every step
    task: Literal["train", "predict"] = "train"  # predict: the last step's images, from files
    directory: Path = Path()  # of those files
    alternatives: bool = False  # beside torch.compile, which takes a minute, and small pages

    @property
    def measured(self) -> list[int]:
        """Numbers of frozen extractors of the steps that are measured."""
        every = range(len(self.new_classes))
        return [every[-1]] if self.task == "predict" else [*(self.frozen or every)]

    @property
    def phase(self) -> ScheduleSettings:
        """A constant learning rate, low enough for classifiers on untrained extractors."""
        return ScheduleSettings(
            epochs=1 + self.repetitions,
            learning_rate=0.01,
            milestones=[],
            decay=0.1,
            weight_decay=5e-4,
            momentum=0.9,
            warmup_epochs=0,
            batch_size=self.batch_size,
        )


def load_digits() -> list[NDArray[np.uint8]]:
    """The digits as the pipeline's default configuration has them."""
    settings = DatasetSettings(
        source="digits", path="", downloads="", image_side=8, channels=1, test_fraction=0.2, seed=0
    )
    return [images.train for images in digits(settings)]


def load_noise(classes: int, per_class: int, side: int = 32) -> list[NDArray[np.uint8]]:
    """Random colour images: the time does not depend on what they show."""
    random = np.random.RandomState(SEED)
    return [random.randint(0, 256, (per_class, side, side, 3), dtype=np.uint8) for _ in range(classes)]


def list_cases(device: torch.device, quick: bool) -> list[Case]:
    """The cases to measure; on a GPU, epochs have the sizes of CIFAR-100 in four steps of 25 classes."""
    per_class, memory = (24, 150) if device.type == "cpu" else (500, 2000)
    if quick:
        per_class, memory = 4, 75
    cases = [
        Case(
            name="digits, 8x8",
            load=load_digits,
            new_classes=(4, 2, 2, 2),
            memory=200,
            augmentation=AugmentationSettings(
                resized_crop=None, crop_padding=1, horizontal_flip=False, brightness=0.25
            ),
            batch_size=32,
            repetitions=11,
        ),
        Case(
            name="colour, 32x32",
            load=partial(load_noise, 100, per_class),
            new_classes=(25, 25, 25, 25),
            memory=memory,
            augmentation=AugmentationSettings(
                resized_crop=None, crop_padding=4, horizontal_flip=True, brightness=63 / 255
            ),
            batch_size=128,
            repetitions=5,
        ),
    ]
    colour = cases[-1]
    predictions = [replace(case, name=f"{case.name}, predict", task="predict") for case in cases]
    growth = replace(colour, name="colour, 32x32, 20 steps", new_classes=(5,) * 20, frozen=(0, 9, 19))
    photographs = replace(
        colour,
        name="photographs, 224x224",
        load=partial(load_noise, 2, 16, 224),
        new_classes=(2,),
        memory=0,
        batch_size=16,
        depth=18,
        large=True,
    )
    beside = replace(colour, name="colour, 32x32, alternatives", frozen=(0,), alternatives=True)
    cases += [beside] * (device.type == "cpu")
    cases += [replace(case, repetitions=3) for case in (growth, photographs)] + predictions
    return [replace(case, repetitions=1) if quick else case for case in cases]


class Start(NamedTuple):
    """A step of the protocol before its training."""

    step: int  # counted from 1
    network: Network
    old_classes: int
    auxiliary: nn.Linear
    images: TrainingImages
    normalization: Normalization


def prepare(case: Case, frozen: int) -> Start:
    """The step with ``frozen`` frozen extractors; the same for every contender."""
    arrays = case.load()
    ends = list(accumulate(case.new_classes))
    classes, old_classes = ends[frozen], ends[frozen] - case.new_classes[frozen]
    old = [images[: case.memory // old_classes] for images in arrays[:old_classes]]
    seen = [*old, *arrays[old_classes:classes]]
    images = gather_step(seen, empty_memory())
    normalization = measure_normalization(arrays[: ends[0]])
    network = empty_network()
    settings = network_settings(case)
    channels = arrays[0].shape[-1]
    for step, new_classes in enumerate(case.new_classes[: frozen + 1], start=1):
        network = expand(network, new_classes, settings, channels, generator(SEED, "initialization", step))
        if step == 1:
            sample_BCHW = torch.from_numpy(arrays[0][: case.batch_size]).permute(0, 3, 1, 2)
            _settle(network.extractors[0], Normalize(normalization)(sample_BCHW))
    auxiliary = random_linear(
        network.extractors[-1].features,
        case.new_classes[frozen] + 1,
        settings,
        generator(SEED, "auxiliary classifier", frozen + 1),
    )
    return Start(frozen + 1, network, old_classes, auxiliary, images, normalization)


def network_settings(case: Case) -> NetworkSettings:
    """ResNets for small images."""
    return NetworkSettings(
        backbone="resnet" if case.large else "cifar_resnet",
        depth=case.depth,
        stem="large" if case.large else "small",
        head_bias=True,
        head_initialization="torch_uniform",
        inherit_head=True,
        expansion=True,
        mean=None,
        std=None,
    )


@torch.no_grad()
def _settle(extractor: Extractor, images_BCHW: Tensor) -> None:
    """Give batch normalisation the statistics of some images, without which frozen features explode."""
    norms = [module for module in extractor.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = norms[0].momentum
    for momentum in (1.0, usual):
        for norm in norms:
            norm.momentum = momentum
        if momentum == 1.0:
            extractor.train()(images_BCHW)
