"""What a classifier has learned, and one step more: stages train_task and build_memory, in memory.

# N images of a class, H and W pixels, C channels
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.sealed import SealedDirectory
from der.data.exemplars import Memory, empty_memory, save_memory
from der.estimator.arrays import Label, LabelKind
from der.estimator.choices import check_channels
from der.memory.budget import check_budget
from der.memory.build import build_memory
from der.model.checkpoint import Checkpoint, save_checkpoint
from der.model.forward import features_in_turns
from der.model.weights import Start, read_start
from der.settings.experiment import Settings
from der.settings.network import NetworkSettings
from der.train.incremental_step import train_step
from der.train.processor_kernels import choose_kernels
from der.train.rebalancing.classifier_learning import warn_of_few
from der.train.step_run import Listener, NoState
from der.train.training_images import gather_step

CHECKPOINT, MEMORY = "checkpoint", "memory"  # directories of a saved classifier


@dataclass(frozen=True)
class Learned:
    """The network after a step, the exemplars, and what the labels were."""

    checkpoint: Checkpoint
    memory: Memory
    kind: LabelKind

    @property
    def classes(self) -> list[Label]:
        """The labels of all classes, in the order in which the network has them."""
        names = self.checkpoint.metadata.class_names
        return [int(name) for name in names] if self.kind == "int" else [*names]

    @cached_property
    def bytes(self) -> tuple[int, int]:
        """Bytes of the files of the checkpoint and of the memory."""
        with TemporaryDirectory() as directory:
            save_learned(Path(directory), self)
            sizes = [SealedDirectory(Path(directory) / name).bytes() for name in (CHECKPOINT, MEMORY)]
        return sizes[0], sizes[1]


def save_learned(directory: Path, learned: Learned) -> None:
    """Write checkpoint and memory into ``directory``, as the stages do."""
    save_checkpoint(directory / CHECKPOINT, learned.checkpoint)
    save_memory(directory / MEMORY, learned.memory)


def learn_step(
    previous: Learned | None,
    classes: Sequence[Label],
    images: Sequence[NDArray[np.uint8]],
    kind: LabelKind,
    settings: Settings,
    device: torch.device,
    listener: Listener,
) -> Learned:
    """Teach ``classes`` after ``previous``, which is left as it was (DER, section 3).

    ``images`` holds the training images (N, H, W, C) of each class. Raises UserError if they, the labels or
    the settings do not go with what was learned before, and as ``train_step`` and ``build_memory`` do.
    """
    check_continuation(previous, images, kind, settings)
    before, memory = (None, empty_memory()) if previous is None else (previous.checkpoint, previous.memory)
    steps = [*([] if before is None else before.metadata.steps), [str(label) for label in classes]]
    check_budget(settings.memory, sum(map(len, steps)))  # here, not after hours of training
    gathered = gather_step(images, memory)
    phase = settings.train.phase(len(steps))
    kernels = choose_kernels(
        settings.network, phase, gathered, settings.train.precision, device, warnings.warn
    )
    warn_of_few(steps, gathered, settings.train, warnings.warn)
    trained = train_step(
        before,
        steps,
        gathered,
        settings.network,
        settings.train,
        device,
        listener,
        NoState(),
        None if previous else begin(settings.network),
        kernels,
    ).checkpoint
    with features_in_turns(trained, device) as features:
        memory = build_memory(memory, images, settings.memory, features).copy()
    trained.network.cpu()
    return Learned(trained, memory, kind)


def begin(network: NetworkSettings) -> Start | None:
    """What the first extractor starts from; None: random weights."""
    return None if network.weights is None else read_start(network, network.weights)


def check_continuation(
    previous: Learned | None, images: Sequence[NDArray[np.uint8]], kind: LabelKind, settings: Settings
) -> None:
    """Raise UserError unless a step on ``images`` can follow ``previous``."""
    if previous is None:
        channels = images[0].shape[3]
        check_channels(settings.network, channels, "give images in colour, or None")
        if settings.network.mean is not None and len(settings.network.mean) != channels:
            raise UserError(
                f"network.mean: {len(settings.network.mean)} values for images of {channels} channels; "
                f"give {channels}, or None for network.mean and network.std"
            )
        return
    check_form(previous, images[0])
    check_kind(previous, kind)
    if replace(settings.network, weights=None) != replace(previous.checkpoint.metadata.network, weights=None):
        raise UserError("settings: the network differs from the one learned before; begin anew with fit")


def check_kind(learned: Learned, kind: LabelKind) -> None:
    """Raise UserError unless labels are of the kind of those learned: a number is no text that says it."""
    if kind != learned.kind:
        words = {"int": "whole numbers", "str": "text"}
        raise UserError(f"labels: {words[kind]}; those learned are {words[learned.kind]}, give the same")


def check_form(learned: Learned, images: NDArray[np.uint8]) -> None:
    """Raise UserError unless images have the side and channels of those learned."""
    _, side, _, channels = images.shape
    metadata = learned.checkpoint.metadata
    if (side, channels) != (metadata.image_side, metadata.channels):
        raise UserError(
            f"images: {side} pixels a side and {channels} channels; those learned have "
            f"{metadata.image_side} and {metadata.channels}, give the same"
        )


def check_callback(callback: object) -> None:
    """Raise UserError unless ``callback`` is a listener, or None."""
    if callback is None or isinstance(callback, Listener):
        return
    kind = f"class {callback.__name__}" if isinstance(callback, type) else f"a {type(callback).__name__}"
    raise UserError(
        f"callback: {kind} does not fit; give an object of a class derived from der.Listener, or None"
    )
