"""Our DER, as the stages train_task, build_memory and evaluate run it: the one module that knows src/der.

# N images, H and W pixels, C channels, D features
"""

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import der.device
import der.model.network
import der.model.onednn
import der.train.engine
import der.train.representation
import der.train.step
from bench.pycil.contenders import Contender, Epoch, Step, Tell
from bench.pycil.images import read_images
from bench.pycil.plans import Plan
from der.common.settings import (
    AugmentationSettings,
    ClassifierSettings,
    IncrementalSettings,
    MemorySettings,
    NetworkSettings,
    PhaseSettings,
    TrainSettings,
)
from der.device import set_up_device
from der.inference import run_network
from der.memory.build import build_memory
from der.memory.exemplars import empty_memory
from der.model.checkpoint import Checkpoint
from der.model.folding import fold_network
from der.model.layers import ConvNorm
from der.model.network import Network, empty_network, expand, random_linear
from der.model.preprocessing import Normalization, Normalize
from der.model.resnet import ResNet
from der.randomness import generator
from der.train.augmentation import augment, draw_epoch
from der.train.images import TrainingImages, gather_step
from der.train.log import EpochRecord
from der.train.representation import PHASE
from der.train.scratch import Scratch
from der.train.step import TrainedStep, train_step

MEAN, STD = [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]  # PyCIL's
BRIGHTNESS = 63 / 255


def name_processor() -> str:
    """The processor's model."""
    return der.device.processor_name()


def learn(plan: Plan, contender: Contender, directory: Path, seed: int, device_name: str, tell: Tell) -> None:
    """Learn the plan's steps from the images in ``directory``, telling of every epoch and step."""
    device = set_up_device(device_name)
    if contender.heads == "pycil":
        der.model.network.randomize_linear = _draw_as_pycil
    checkpoint, memory = Checkpoint(empty_network(), None), empty_memory()
    for step in range(1, len(plan.new_classes) + 1):
        new_classes = _new_classes(plan, directory, step)
        images = gather_step(new_classes, memory)
        listener = _Clock(step, tell)
        trained = run_step(plan, contender.precision, seed, step, checkpoint, images, device, listener)
        checkpoint = trained.checkpoint
        network = fold_network(checkpoint.network, device)
        memory = build_memory(memory, new_classes, _memory_settings(plan), _features(network, device))
        assert checkpoint.card is not None
        tell(Step(step, _top1(network, directory, device), checkpoint.card.gamma))


def run_step(
    plan: Plan,
    precision: Literal["float32", "bfloat16"],
    seed: int,
    step: int,
    checkpoint: Checkpoint,
    images: TrainingImages,
    device: torch.device,
    listener: "_Clock",
) -> TrainedStep:
    """train_task, between its reading and its writing."""
    names = _class_names(plan)[:step]
    with TemporaryDirectory() as root, Scratch(Path(root), "bench", warnings.warn) as scratch:
        return train_step(
            checkpoint,
            names,
            images,
            network_settings(plan),
            train_settings(plan, precision, seed),
            device,
            listener,
            scratch,
        )


class _Clock:
    """Hears of epochs, and times them: from the end of what was told before."""

    def __init__(self, step: int, tell: Tell) -> None:
        self.step = step
        self.tell = tell
        self.images = 0
        self.begin = 0.0

    def on_phase(self, name: str, epochs: int, images: int) -> None:
        """Training begins."""
        self.images = images
        self.begin = time.perf_counter()

    def on_resume(self, epochs: int) -> None:
        """Never happens: nothing is kept between runs."""

    def on_images(self, images: int) -> None:
        """Show nothing."""

    def on_epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""
        self.tell(Epoch(self.step, record.epoch - 1, time.perf_counter() - self.begin, self.images))
        self.begin = time.perf_counter()


def network_settings(plan: Plan) -> NetworkSettings:
    """PyCIL's network."""
    return NetworkSettings(
        backbone="cifar_resnet",
        depth=plan.depth,
        stem="small",
        head_bias=True,
        expansion=True,
        mean=MEAN,
        std=STD,
    )


def train_settings(plan: Plan, precision: Literal["float32", "bfloat16"], seed: int) -> TrainSettings:
    """PyCIL's recipe with the plan's schedule."""
    schedule: dict[str, Any] = {
        "epochs": plan.epochs,
        "learning_rate": plan.learning_rate,
        "milestones": list(plan.milestones),
        "decay": 0.1,
        "momentum": 0.9,
        "batch_size": plan.batch_size,
        "warmup_epochs": 0,
    }
    first, later = plan.weight_decay
    classifier = ClassifierSettings(**schedule, weight_decay=later, temperature=1.0)  # not used
    return TrainSettings(
        seed=seed,
        precision=precision,
        augmentation=AugmentationSettings(
            resized_crop=None, crop_padding=plan.crop_padding, horizontal_flip=True, brightness=BRIGHTNESS
        ),
        masks=None,
        base=PhaseSettings(**schedule, weight_decay=first, reinitialize_heads=False),
        incremental=IncrementalSettings(
            **schedule,
            weight_decay=later,
            reinitialize_heads=False,
            auxiliary_weight=1.0,
            rebalancing="weight_alignment",
            classifier=classifier,
        ),
    )


class Trace(NamedTuple):
    """A step of ours, so that another program can follow it."""

    start: Network
    auxiliary: nn.Linear
    batches: list[list[tuple[Tensor, Tensor]]]  # by epoch: normalised images (B, C, H, W) and labels (B,)
    end: Network  # weights aligned
    memory: NDArray[np.uint8]  # the exemplars after the step, (M, H, W, C), by class
    top1: float  # percent


def trace(plan: Plan, directory: Path, seed: int) -> Iterator[Trace]:
    """Learn the plan's steps in float64 on the CPU, and tell what was computed from what."""
    device = set_up_device("cpu")
    _compute_in_float64()
    checkpoint, memory = Checkpoint(empty_network(), None), empty_memory()
    for step, new in enumerate(plan.new_classes, start=1):
        new_classes = _new_classes(plan, directory, step)
        images = gather_step(new_classes, memory)
        stream = generator(seed, "initialization", step)
        start = expand(checkpoint.network, new, network_settings(plan), 3, stream)
        auxiliary = random_linear(
            start.extractors[-1].features, new + 1, True, generator(seed, "auxiliary classifier", step)
        )
        batches = [list(_epoch_batches(plan, images, seed, step, epoch)) for epoch in range(plan.epochs)]
        clock = _Clock(step, lambda _: None)
        checkpoint = run_step(plan, "float32", seed, step, checkpoint, images, device, clock).checkpoint
        network = fold_network(copy.deepcopy(checkpoint.network).float(), device)
        memory = build_memory(memory, new_classes, _memory_settings(plan), _features(network, device))
        top1 = _top1(network, directory, device)
        yield Trace(start, auxiliary, batches, checkpoint.network, memory.images, top1)


class Change(NamedTuple):
    """An image before and after our random changes, and what was drawn."""

    before: NDArray[np.uint8]  # (H, W, C)
    after: NDArray[np.uint8]  # (H, W, C)
    top: int  # pixels
    left: int  # pixels
    flip: bool
    brightness: float  # factor


def change_images(plan: Plan, images: NDArray[np.uint8], seed: int) -> Iterator[Change]:
    """Our random changes of images (N, H, W, C), as an epoch makes them."""
    settings = train_settings(plan, "float32", seed).augmentation
    draws = draw_epoch(len(images), settings, seed, PHASE, 1, 0)
    before = images[draws.order.numpy()]
    after = augment(torch.from_numpy(before), draws, settings).permute(0, 2, 3, 1).numpy()
    for one in range(len(images)):
        yield Change(
            before[one],
            after[one],
            int(draws.top[one]),
            int(draws.left[one]),
            bool(draws.flip[one]),
            float(draws.brightness[one]),
        )


def _compute_in_float64() -> None:
    """Have this process train in float64, so that rounding cannot hide a difference, nor grow into one."""
    torch.set_default_dtype(torch.float64)

    def place_folded(extractor: ResNet, device: torch.device, dtype: torch.dtype) -> ResNet:
        folded = copy.deepcopy(extractor).double().eval().requires_grad_(False)
        for layer in folded.modules():
            if isinstance(layer, ConvNorm):
                layer.fold()
        return folded

    exchanged: list[tuple[ModuleType, str, Callable[..., Any]]] = [
        (der.train.representation, "choose_precision", lambda name, device: torch.float64),
        (der.train.engine, "place_folded", place_folded),
        (der.train.step, "check_scores", lambda *_: None),
        (der.model.onednn, "serves", lambda x: False),
    ]
    for module, name, function in exchanged:
        assert hasattr(module, name), f"{module.__name__} has no {name}"
        setattr(module, name, function)


def _epoch_batches(
    plan: Plan, images: TrainingImages, seed: int, step: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    settings = train_settings(plan, "float32", seed).augmentation
    draws = draw_epoch(len(images.labels), settings, seed, PHASE, step, epoch)
    pixels = torch.from_numpy(images.read(draws.order.numpy()))
    inputs = Normalize(Normalization(MEAN, STD))(augment(pixels, draws, settings))
    labels = torch.from_numpy(images.labels)[draws.order]
    yield from zip(inputs.split(plan.batch_size), labels.split(plan.batch_size), strict=True)


def _memory_settings(plan: Plan) -> MemorySettings:
    return MemorySettings(budget=plan.memory, allocation="total", selection="herding", seed=0)


def _class_names(plan: Plan) -> list[list[str]]:
    ends = accumulate(plan.new_classes, initial=0)
    return [[str(label) for label in range(low, high)] for low, high in pairwise(ends)]


def _new_classes(plan: Plan, directory: Path, step: int) -> list[NDArray[np.uint8]]:
    names = _class_names(plan)[step - 1]
    return [read_images(directory, "train", int(name)) for name in names]


def _features(network: Network, device: torch.device) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    return lambda images: run_network(network, Normalization(MEAN, STD), images, device).features


def _top1(network: Network, directory: Path, device: torch.device) -> float:
    right = total = 0
    for label in range(network.classes):
        images = read_images(directory, "test", label)
        logits_NC = run_network(network, Normalization(MEAN, STD), images, device).logits
        right += int((logits_NC.argmax(1) == label).sum())
        total += len(images)
    return 100 * right / total


def _draw_as_pycil(layer: nn.Linear, generator: torch.Generator) -> None:
    """Weights uniform in +-sqrt(3/features), biases zero, instead of both in +-1/sqrt(features)."""
    bound = math.sqrt(3 / layer.in_features)
    with torch.no_grad():
        layer.weight.copy_(torch.empty(layer.weight.shape).uniform_(-bound, bound, generator=generator))
        layer.bias.zero_()
