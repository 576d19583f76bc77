"""What our DER computes from what, in float64, so that another program can follow it.

# N images, B batch, M exemplars, C channels, H and W pixels
"""

import copy
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import der.model.kernels.processor
import der.train.batches
import der.train.engine
import der.train.step
from bench.pycil.contenders import Job
from bench.pycil.ours import Clock, JobRun
from bench.pycil.plans import Plan
from bench.pycil.recipe import NORMALIZATION, augmentation_settings, network_settings
from der.core.device import set_up_device
from der.core.randomness import generator
from der.data.arrays import empty_memory
from der.model.kernels.layers import ConvNorm
from der.model.network import (
    Extractor,
    Network,
    Normalize,
    empty_network,
    expand,
    fold_network,
    random_linear,
)
from der.train.batches import TrainingImages, augment, draw_epoch
from der.train.log import REPRESENTATION

CHANNELS = 3


class Trace(NamedTuple):
    """A step of ours."""

    start: Network
    auxiliary: nn.Linear  # at the start
    batches: list[list[tuple[Tensor, Tensor]]]  # by epoch: normalised images (B, C, H, W) and labels (B,)
    end: Network  # weights aligned
    memory: NDArray[np.uint8]  # the exemplars after the step, (M, H, W, C), by class
    top1: float  # percent


def trace(job: Job) -> Iterator[Trace]:
    """Learn the plan's steps on the CPU; from here on this process trains in float64."""
    run = JobRun(job, set_up_device("cpu"))
    _train_in_float64()
    checkpoint, memory = None, empty_memory()
    for step in range(1, len(job.plan.new_classes) + 1):
        images = run.gather(step, memory)
        before = empty_network() if checkpoint is None else checkpoint.network
        start, auxiliary = _start(job, step, before)
        batches = [list(_epoch_batches(job, images, step, epoch)) for epoch in range(job.plan.epochs)]
        checkpoint = run.train(step, checkpoint, images, Clock(step, lambda _: None))
        network = fold_network(copy.deepcopy(checkpoint.network).float(), run.device)
        memory = run.remember(step, memory, network)
        top1 = run.measure_top1(network)
        yield Trace(start, auxiliary, batches, checkpoint.network, memory.images.copy(), top1)


class Change(NamedTuple):
    """An image before and after our random changes, and what was drawn."""

    before: NDArray[np.uint8]  # (H, W, C)
    after: NDArray[np.uint8]  # (H, W, C)
    top: int  # pixels
    left: int  # pixels
    flip: bool
    brightness: float  # factor


def change_images(plan: Plan, images_NHWC: NDArray[np.uint8], seed: int) -> Iterator[Change]:
    """Our random changes of images, as an epoch makes them."""
    settings = augmentation_settings(plan)
    draws = draw_epoch(len(images_NHWC), settings, seed, REPRESENTATION, 1, 0)
    before = images_NHWC[draws.order.numpy()]
    after = augment(torch.from_numpy(before), draws, settings).permute(0, 2, 3, 1).numpy()
    for one in range(len(images_NHWC)):
        yield Change(
            before[one],
            after[one],
            int(draws.top[one]),
            int(draws.left[one]),
            bool(draws.flip[one]),
            float(draws.brightness[one]),
        )


def _start(job: Job, step: int, before: Network) -> tuple[Network, nn.Linear]:
    """The network and the auxiliary classifier as ``train_step`` draws them."""
    new = job.plan.new_classes[step - 1]
    stream = generator(job.seed, "initialization", step)
    settings = network_settings(job.plan)
    network = expand(before, new, settings, CHANNELS, stream)
    features = network.extractors[-1].features
    auxiliary = generator(job.seed, "auxiliary classifier", step)
    return network, random_linear(features, new + 1, settings, auxiliary)


def _epoch_batches(
    job: Job, images: TrainingImages, step: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches as the engine's feed makes them."""
    settings = augmentation_settings(job.plan)
    draws = draw_epoch(len(images.labels), settings, job.seed, REPRESENTATION, step, epoch)
    pixels = torch.from_numpy(images.pixels.read(draws.order.numpy()))
    inputs = Normalize(NORMALIZATION)(augment(pixels, draws, settings))
    labels = torch.from_numpy(images.labels)[draws.order]
    size = job.plan.batch_size
    yield from zip(inputs.split(size), labels.split(size), strict=True)


def _train_in_float64() -> None:
    """For all of this process, so that rounding cannot hide a difference, nor grow into one."""
    torch.set_default_dtype(torch.float64)

    def place_folded(extractor: Extractor, device: torch.device, dtype: torch.dtype) -> Extractor:
        folded = copy.deepcopy(extractor).double().eval().requires_grad_(False)
        for layer in folded.modules():
            if isinstance(layer, ConvNorm):
                layer.fold()
        return folded

    exchanged: list[tuple[ModuleType, str, Callable[..., Any]]] = [
        (der.train.engine, "choose_precision", lambda name, device, where: torch.float64),
        (der.train.batches, "place_folded", place_folded),
        (der.train.step, "check_scores", lambda *_: None),  # runs in float32
        (der.model.kernels.processor, "serves_folded", lambda x: False),
    ]
    for module, name, function in exchanged:
        assert hasattr(module, name), f"{module.__name__} has no {name}"
        setattr(module, name, function)
