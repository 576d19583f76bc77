"""What a classifier has learned: one step more, and its files.

A step is what stages train_task and build_memory do, with arrays instead of files. A saved classifier is
checkpoint and memory as the stages write them, with the settings to go on with.

# N images of a class, H and W pixels, C channels
"""

import os
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
from der.core.files import write_json
from der.core.sealed import MANIFEST, SealedDirectory, sealed_directory
from der.data.arrays import Memory, check_budget, empty_memory, load_memory, save_memory
from der.estimator.arrays import Label, LabelKind
from der.estimator.choices import check_channels
from der.memory import build_memory
from der.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from der.model.forward import features_of
from der.model.weights import read_start
from der.settings.experiment import Settings
from der.settings.parsing import parse
from der.settings.sections import Section, to_values
from der.train.log import Listener
from der.train.resume import StateKeeper
from der.train.step import prepare_step, train_step

MODEL = "model.json"
FORMAT = 1  # of that file
CHECKPOINT, MEMORY = "checkpoint", "memory"  # directories of a saved classifier
OWN = {MODEL, MANIFEST, CHECKPOINT, MEMORY}  # all that it is made of, at its top


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
            self.save(Path(directory))
            sizes = [SealedDirectory(Path(directory) / name).bytes() for name in (CHECKPOINT, MEMORY)]
        return sizes[0], sizes[1]

    def save(self, directory: Path) -> None:
        """Write checkpoint and memory into ``directory``, as the stages do."""
        save_checkpoint(directory / CHECKPOINT, self.checkpoint)
        save_memory(directory / MEMORY, self.memory)


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
    network, start = settings.network, None
    if before is None and network.weights is not None:
        start = read_start(network, network.weights)
    inputs = prepare_step(
        before, steps, images, memory, network, settings.train, device, start, warnings.warn
    )
    trained = train_step(inputs, listener, StateKeeper()).checkpoint
    memory = build_memory(memory, images, settings.memory, features_of(trained, device)).copy()
    trained.network.cpu()
    return Learned(trained, memory, kind)


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
    """Raise UserError unless labels are of the kind of those learned: the text "1" is not the number 1."""
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


class Model(Section, frozen=True):
    """The content of model.json."""

    format: int
    labels: LabelKind
    settings: Settings


def write_model(path: Path, learned: Learned, settings: Settings) -> None:
    """Write the directory ``path``; raises UserError if something else than a saved classifier is there."""
    if path.name in ("", "..") or Path.cwd().is_relative_to(path.resolve()):
        raise UserError(f"{os.fspath(path)!r}: is no name of a new directory; give one, as 'model'")
    try:
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise UserError(f"{path}: is no directory; give another name")
        if path.is_dir() and (found := {one.name for one in path.iterdir()}) and not {MODEL} <= found <= OWN:
            raise UserError(f"{path}: holds other files than a saved classifier; give another directory")
        with sealed_directory(path) as directory:
            learned.save(directory)
            write_json(directory / MODEL, to_values(Model(FORMAT, learned.kind, settings)))
    except OSError as error:  # a full disk, a missing permission
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); give a directory that can be") from None


def read_model(path: Path) -> tuple[Learned, Settings]:
    """Read what ``write_model`` wrote; raises UserError naming what is missing, damaged or foreign."""
    content = SealedDirectory(path).read_json(MODEL)
    where = f"{path / MODEL}"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{where}: not a classifier of format {FORMAT}; teach and save it again")
    model = parse(Model, content, where)
    return read_pair(path / CHECKPOINT, path / MEMORY, model.labels), model.settings


def read_pair(checkpoint: Path, memory: Path, kind: LabelKind) -> Learned:
    """Read a step's checkpoint and memory; raises UserError if they are of different steps."""
    loaded = load_checkpoint(checkpoint)
    if not memory.is_dir():
        raise UserError(
            f"{memory}: there is no memory of the step in {checkpoint}; give its directory, or take "
            "der.load_predictor, which needs none"
        )
    learned = Learned(loaded, load_memory(memory), kind)
    classes, metadata = len(learned.memory.class_means), learned.checkpoint.metadata
    side, channels = metadata.image_side, metadata.channels
    if classes != len(metadata.class_names) or learned.memory.images.shape != (side, side, channels):
        raise UserError(f"{memory}: the memory of another step than {checkpoint}; give that of the same")
    return learned
