"""What a classifier has learned, the steps that change it, and its files.

# N images, of a class where there are several arrays, H and W pixels, C channels
"""

import dataclasses
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
from der.core.files import SealedDirectory, sealed_directory, write_array
from der.data import arrays
from der.estimator import choices
from der.estimator.arrays import Label, LabelKind
from der.memory import Features, build_memory
from der.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from der.model.features import FrozenFeatures, start_frozen
from der.model.network import Network, blank_linear, features_of
from der.model.records import Records, read_records
from der.model.weights import Start, read_start
from der.settings.experiment import Settings
from der.settings.sections import TrainSettings
from der.train import batches, convex, engine, resume, step
from der.train.compress import compress, with_own_means
from der.train.log import CLASSIFIER, EpochRecord, Listener

DIRECTORIES = CHECKPOINT, MEMORY, FEATURES = "checkpoint", "memory", "features"  # of a saved classifier


@dataclass(frozen=True)
class Learned:
    """The network after a step, the exemplars, the type of the labels; a frozen network's features."""

    checkpoint: Checkpoint
    memory: arrays.Memory
    kind: LabelKind
    records: tuple[tuple[int, EpochRecord], ...] = ()  # of every epoch, after its step's number
    foreseen: frozenset[Label] | None = None  # all classes that will ever come, if that is known
    features: tuple[Records, ...] = ()  # of all images of each class, if the network is frozen

    @property
    def form(self) -> tuple[int, int]:
        return self.checkpoint.metadata.image_side, self.checkpoint.metadata.channels

    @property
    def classes(self) -> list[Label]:
        names = self.checkpoint.metadata.class_names
        return [int(name) for name in names] if self.kind == "int" else [*names]

    @cached_property
    def bytes(self) -> tuple[int, int]:
        """Return the bytes of the checkpoint's files and of the memory's files."""
        with TemporaryDirectory() as directory:
            self.save(Path(directory))
            sizes = [SealedDirectory(Path(directory) / name).bytes() for name in (CHECKPOINT, MEMORY)]
        return sizes[0], sizes[1]

    def save(self, directory: Path) -> None:
        save_checkpoint(directory / CHECKPOINT, self.checkpoint)
        arrays.save_memory(directory / MEMORY, self.memory)
        if self.features:
            with sealed_directory(directory / FEATURES) as folder:
                for name, records in zip(self.checkpoint.metadata.class_names, self.features, strict=True):
                    write_array(folder / arrays.class_file(name), records)


def learn_step(
    previous: Learned | None,
    classes: Sequence[Label],
    images: Sequence[NDArray[np.uint8]],
    kind: LabelKind,
    settings: Settings,
    device: torch.device,
    listener: Listener,
) -> Learned:
    """Teach ``classes`` after ``previous``, which does not change (DER, section 3).

    ``images`` holds the training images (N, H, W, C) of each class, old ones first. Images of old classes
    join a frozen network's features; with another network, they join the exemplars and may replace some.
    Raises UserError if images, labels or settings do not fit the earlier steps, and where ``train_step`` and
    ``build_memory`` raise it.
    """
    check_continuation(previous, images, kind, settings)
    before, memory = (previous.checkpoint, previous.memory) if previous else (None, arrays.empty_memory())
    again, new = images[: len(images) - len(classes)], images[len(images) - len(classes) :]
    names = [str(label) for label in classes]
    steps = [*([] if before is None else before.metadata.steps), names]
    arrays.check_budget(settings.memory, sum(map(len, steps)))  # here, not after hours of training
    network, start = settings.network, None
    if before is None and network.weights is not None:
        start = read_start(network, network.weights)
    known: list[Records] = []
    compute: Features
    if network.tuned == "none":
        listener.on_step({CLASSIFIER: 1})
        listener.on_phase(CLASSIFIER, 1, sum(map(len, images)))
        frozen, compute, known = add_features(previous, images, settings, start, device)
        trained, record = fit_frozen(frozen, names, known, settings.train)
        records = [record]
        listener.on_epoch(record)
    else:
        given = before, steps, new, memory.beside(again), network, settings.train, device, start
        inputs = step.prepare_step(*given, warnings.warn)
        trained, records = step.train_step(inputs, listener, resume.StateKeeper())
        compute = features_of(trained.network, trained.metadata.normalization, device)
    if new:
        memory = build_memory(memory, new, settings.memory, compute, again).copy()
    trained.network.cpu()
    history = tuple((len(trained.metadata.steps), record) for record in records)
    history = (previous.records if previous else ()) + history
    return Learned(trained, memory, kind, history, features=tuple(known))


def add_features(
    previous: Learned | None,
    images: Sequence[NDArray[np.uint8]],
    settings: Settings,
    start: Start | None,
    device: torch.device,
) -> tuple[Checkpoint, FrozenFeatures, list[Records]]:
    """Return the frozen network, and the features of each class's old and new images (N, H, W, C)."""
    if previous is not None:
        checkpoint, known = previous.checkpoint, previous.features
        if len(known) != len(previous.classes):
            raise UserError("features: those of the classes learned before are missing; begin anew with fit")
    else:
        assert start is not None  # section network demands weights of what is frozen
        checkpoint, known = start_frozen(settings.network, images, start), ()
    frozen = FrozenFeatures(checkpoint.network, checkpoint.metadata.normalization, device, known)
    fresh = frozen.records(images, convex.count_views(settings.train))
    old = [np.concatenate(pair) for pair in zip(known, fresh, strict=False)]
    return checkpoint, frozen, [*old, *fresh[len(old) :]]


def fit_frozen(
    before: Checkpoint, names: list[str], known: list[Records], train: TrainSettings
) -> tuple[Checkpoint, EpochRecord]:
    """Fit a classifier of the classes before and of ``names`` on all features."""
    features = [one["features"] for one in known]
    fitted, record = convex.fit_classifier(features, train.classifier, train.shrinkage)
    head = blank_linear(fitted.weight_KP.shape[1], len(known), bias=True)
    step.place_classifier(head, fitted)
    metadata = before.metadata
    if names:
        recipe, values = train.recipe(len(metadata.steps) + 1), fitted.weight_KP.size + len(known)
        metadata = metadata.taught(names, recipe, values, fitted.familiarity)
    else:  # more images of old classes alone
        metadata = replace(metadata, familiarity=fitted.familiarity)
    network = Network(before.network.extractors, head).eval()
    return Checkpoint(network, metadata, fitted.means_KP), record


def compress_step(
    learned: Learned,
    rows: list[arrays.ImageRows],
    settings: Settings,
    device: torch.device,
    listener: Listener,
) -> Learned:
    """Compress the network with the images of each class, and compute the class means of memory anew."""
    checkpoint, own, train = learned.checkpoint, settings.compress, settings.train
    network, normalization = checkpoint.metadata.network, checkpoint.metadata.normalization
    images = batches.TrainingImages(arrays.join(rows), np.repeat(np.arange(len(rows)), [*map(len, rows)]))
    kernels = engine.choose_kernels(network, own.schedule, images, train.precision, device, warnings.warn)
    steps = len(checkpoint.metadata.steps)
    run = engine.StepRun(steps, 0, normalization, train, device, listener, resume.StateKeeper(), kernels)
    compressed = compress(run, checkpoint, images, own)
    memory = with_own_means(learned.memory, compressed, device)
    compressed.network.cpu()
    return dataclasses.replace(learned, checkpoint=compressed, memory=memory)


def check_continuation(
    previous: Learned | None, images: Sequence[NDArray[np.uint8]], kind: LabelKind, settings: Settings
) -> None:
    """Raise UserError unless a step on ``images`` can follow ``previous``."""
    if previous is None:
        choices.check_channels(settings.network, images[0].shape[3], "give images in colour, or None")
        return
    check_kind(previous, kind)
    if replace(settings.network, weights=None) != replace(previous.checkpoint.metadata.network, weights=None):
        raise UserError("settings: the network differs from the one learned before; begin anew with fit")


def check_kind(learned: Learned, kind: LabelKind) -> None:
    """Raise UserError unless labels have the type of the learned ones: the text "1" is not the number 1."""
    if kind != learned.kind:
        words = {"int": "whole numbers", "str": "text"}
        raise UserError(f"labels: {words[kind]}; those learned are {words[learned.kind]}, give the same")


def read_learned(checkpoint: Path, memory: Path, features: Path, *, kind: LabelKind) -> Learned:
    """Read a step's checkpoint and memory, and a frozen network's features if they are there.

    Raises UserError if checkpoint and memory belong to different steps.
    """
    loaded = load_checkpoint(checkpoint)
    if not memory.is_dir():
        fault = f"{memory}: there is no memory of the step in {checkpoint}"
        raise UserError(f"{fault}; give its directory, or take der.load_predictor, which needs none")
    known = read_records(features) if features.is_dir() else {}
    order = [arrays.class_file(name) for name in loaded.metadata.class_names]
    kept = tuple(known[name] for name in order) if known.keys() == {*order} else ()
    learned = Learned(loaded, arrays.load_memory(memory), kind, features=kept)
    classes, (side, channels) = len(learned.memory.class_means), learned.form
    if classes != len(order) or learned.memory.images.shape != (side, side, channels):
        raise UserError(f"{memory}: the memory of another step than {checkpoint}; give that of the same")
    if learned.memory.class_means.shape[1] != loaded.network.head.in_features:  # the whole network's means
        own = with_own_means(learned.memory, loaded, torch.device("cpu"))
        return dataclasses.replace(learned, memory=own)
    return learned
