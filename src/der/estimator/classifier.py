"""A classifier that learns step by step and follows scikit-learn's conventions, and its files.

It does not import scikit-learn's base classes, which take as long as torch, but has their methods. A step
does the work of stages train_task and build_memory, with arrays instead of files. A saved classifier is a
checkpoint and a memory as the stages write them, with the settings for further steps.

# N images, of a class where there are several arrays, H and W pixels, C channels, K classes learned
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from der.core.device import choose_device, reproducible
from der.core.errors import UserError, naming
from der.core.files import MANIFEST, SealedDirectory, sealed_directory, write_json
from der.data.arrays import (
    ImageRows,
    Memory,
    check_budget,
    empty_memory,
    every_row,
    join,
    load_memory,
    save_memory,
)
from der.estimator import arrays, choices
from der.estimator.arrays import Label, LabelKind, check_images, check_labelled, order_new, split_known
from der.evaluation.evaluate import evaluate_step
from der.evaluation.results import StepMetrics
from der.inference.predictor import Predictor
from der.memory import build_memory
from der.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from der.model.network import features_of
from der.model.weights import read_start
from der.settings import parsing, sections
from der.settings.experiment import Settings, read_settings
from der.train import engine, resume, step
from der.train.batches import TrainingImages
from der.train.compress import compress, with_own_means
from der.train.log import Listener

MODEL = "model.json"
FORMAT = 1  # of that file
CHECKPOINT, MEMORY = "checkpoint", "memory"  # directories of a saved classifier
OWN = {MODEL, MANIFEST, CHECKPOINT, MEMORY}  # its top-level entries


@dataclass(frozen=True)
class Learned:
    """The network after a step, the exemplars, and the type of the labels."""

    checkpoint: Checkpoint
    memory: Memory
    kind: LabelKind

    @property
    def classes(self) -> list[Label]:
        """The labels of all classes, in the network's order."""
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
        """Write checkpoint and memory into ``directory``, as the stages do."""
        save_checkpoint(directory / CHECKPOINT, self.checkpoint)
        save_memory(directory / MEMORY, self.memory)


class Model(sections.Section, frozen=True):
    """The content of model.json."""

    format: int
    labels: LabelKind
    settings: Settings


class DERClassifier:
    """Dynamically Expandable Representation (Yan, Xie, He; CVPR 2021) on arrays of images.

    Every call of ``partial_fit`` is an incremental step: it adds new classes, and the network grows by one
    feature extractor. Exemplars in memory represent the old classes. A call that fails or is interrupted does
    not change the classifier. The same data, settings and machine give the same network, bit for bit.

    Parameters
    ----------
    settings
        ``der.preset(name)`` or ``der.read_settings(path)``. Sections dataset and protocol have no effect: the
        arrays decide on classes, steps, image side and channels.
    device
        "cuda", "cuda:1", "mps" or "cpu"; None chooses the best available one.
    callback
        An object of a class derived from ``der.Listener``, which is told of phases, batches and epochs.
    changes
        Single values of the settings by keyword, with two underscores for each dot: ``train__seed=1``.

    Attributes
    ----------
    classes_ : array (K,)
        The learned labels, integers or text, in the network's order.

    Raises
    ------
    UserError
        For invalid settings. Like all errors here it is a ValueError with one sentence.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        device: str | None = None,
        callback: Listener | None = None,
        **changes: Any,
    ) -> None:
        self.settings = choices.change_settings(settings, changes)
        choices.check_choices(self.settings)
        self.device = device
        self.callback = callback
        self._learned: Learned | None = None
        self._predictor: Predictor | None = None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments, and with ``deep`` single values of the settings."""
        own = {name: getattr(self, name) for name in self._own_names()}
        return own | (choices.list_values(sections.all_values(self.settings)) if deep else {})

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor, or single values of the settings; raises UserError."""
        own = {name: params.pop(name) for name in self._own_names() if name in params}
        settings = choices.change_settings(own.pop("settings", self.settings), params)
        choices.check_choices(settings)
        for name, value in own.items():
            setattr(self, name, value)
        self.settings = settings
        self._predictor = None  # of another device, perhaps
        return self

    def _own_names(self) -> list[str]:
        """List the constructor's arguments, those of a subclass too, without single values of settings."""
        parameters = signature(type(self)).parameters
        open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        named = [
            name for name, one in parameters.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        ]
        return [*dict.fromkeys([*(("settings", "device", "callback") if open_ended else ()), *named])]

    def fit(self, X: NDArray[np.uint8], y: Sequence[Label] | NDArray[Any]) -> Self:
        """Forget everything learned, and learn a first step; see ``partial_fit``."""
        return self._learn(None, X, y, None)

    def partial_fit(
        self,
        X: NDArray[np.uint8],
        y: Sequence[Label] | NDArray[Any],
        *,
        order: Sequence[Label] | None = None,
    ) -> Self:
        """Learn one step: new classes only.

        Parameters
        ----------
        X : uint8 (N, H, W) or (N, H, W, C)
            Images: square, grey (C = 1) or in colour (C = 3), with the same form at all steps.
        y : (N,)
            Labels: integers or text, of the same type at all steps.
        order
            The step's labels in the order that the network will use; None: sorted.

        Raises
        ------
        UserError
            For images or labels of another form, a known class, a memory budget too small for all classes,
            and a loss that is not finite.
        """
        return self._learn(self._learned, X, y, order)

    def _learn(
        self, previous: Learned | None, images: object, labels: object, order: Sequence[Label] | None
    ) -> Self:
        labelled = check_labelled(images, labels)
        classes = order_new(labelled.labels, previous.classes if previous else (), order)
        listener = Listener() if self.callback is None else self.callback
        if not isinstance(listener, Listener):
            raise UserError("callback: give an object of a class derived from der.Listener, or None")
        parts = labelled.of_each(classes)
        with reproducible(), torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in
            device = choose_device(self.device)
            learned = learn_step(previous, classes, parts, labelled.kind, self.settings, device, listener)
        self._learned, self._predictor = learned, None
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return self._learned is not None

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
        )

    def __repr__(self) -> str:
        learned = f"{len(self._learned.classes)} classes" if self._learned else "nothing"
        return f"{type(self).__name__}(learned {learned})"

    @property
    def classes_(self) -> NDArray[Any]:
        """The learned labels (K,), in the network's order."""
        return np.array(self._known().classes)

    def _known(self) -> Learned:
        if self._learned is None:
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this classifier has learned no class; call partial_fit first")
        return self._learned

    def predict(self, X: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the most probable class of each image (N,); see ``predict_proba``."""
        probabilities_NK = self.predict_proba(X)
        labels_N: NDArray[Any] = self.classes_[probabilities_NK.argmax(axis=1)]
        return labels_N

    def predict_proba(self, X: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (N, K) of the classes, in the order of ``classes_``.

        Images are uint8, (N, H, W) or (N, H, W, C); images with another side or number of channels are
        converted to the network's. Raises UserError for anything else, NotFittedError before the first step.
        """
        learned = self._known()
        checked = check_images(X)
        with reproducible():
            if self._predictor is None:
                self._predictor = Predictor(learned.checkpoint, choose_device(self.device))
            return self._predictor(checked)

    def score(
        self,
        X: NDArray[np.uint8],
        y: Sequence[Label] | NDArray[Any],
        sample_weight: Sequence[float] | NDArray[Any] | None = None,
    ) -> float:
        """Return the accuracy of the predictions, from 0 to 1; labels may name unknown classes, too.

        Raises UserError for images or labels that ``predict`` or ``evaluate`` refuses, and for labels of
        another type than the learned ones.
        """
        labelled = check_labelled(X, y)
        check_kind(self._known(), labelled.kind)
        return float(np.average(self.predict(X) == labelled.labels, weights=sample_weight))

    def evaluate(self, X: NDArray[np.uint8], y: Sequence[Label] | NDArray[Any]) -> StepMetrics:
        """Return the metrics of the last step on test images, in percent, as in the stages' metrics/steps.

        Raises UserError for images or labels of another form than the learned ones, an unknown class, and a
        class without an image.
        """
        learned = self._known()
        labelled = check_labelled(X, y)
        check_kind(learned, labelled.kind)
        check_form(learned, labelled.images)
        tests = split_known(labelled, learned.classes)
        checkpoint_bytes, memory_bytes = learned.bytes
        with reproducible():
            return evaluate_step(
                learned.checkpoint,
                learned.memory,
                tests,
                self.settings.evaluate,
                choose_device(self.device),
                checkpoint_bytes=checkpoint_bytes,
                memory_bytes=memory_bytes,
            ).metrics

    def compress(
        self, images: NDArray[np.uint8] | None = None, labels: Sequence[Label] | NDArray[Any] | None = None
    ) -> "DERClassifier":
        """Return a classifier of one extractor that has learned the outputs of this one, which stays.

        It can learn more classes. Give the training images of the last step; exemplars represent the classes
        that have none. The settings are those of section compress. Raises UserError for images or labels of
        another form than the learned ones, and for an unknown class.
        """
        learned = self._known()
        rows = {label: learned.memory.of_class(number) for number, label in enumerate(learned.classes)}
        if images is not None:
            labelled = check_labelled(images, labels)
            check_kind(learned, labelled.kind)
            check_form(learned, labelled.images)
            given = arrays.check_known(labelled, learned.classes)
            rows |= {label: every_row(labelled.of_each([label])) for label in given}
        other = DERClassifier(self.settings, device=self.device, callback=self.callback)
        with reproducible(), torch.inference_mode(False), torch.enable_grad():
            device, listener = choose_device(self.device), self.callback or Listener()
            other._learned = compress_step(learned, [*rows.values()], self.settings, device, listener)
        return other

    def save(self, path: str | Path) -> None:
        """Write the classifier into the directory ``path``: checkpoint, memory and settings.

        ``path/checkpoint`` and ``path/memory`` are as stages write them. The directory is whole or absent.
        Raises UserError if ``path`` holds anything but a saved classifier, even one more file, if it cannot
        be written, and for weights that are not finite.
        """
        path, learned = Path(path), self._known()
        if path.name in ("", "..") or Path.cwd().is_relative_to(path.resolve()):
            raise UserError(f"{os.fspath(path)!r}: is no name of a new directory; give one, as 'model'")
        try:
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise UserError(f"{path}: is no directory; give another name")
            found = {one.name for one in path.iterdir()} if path.is_dir() else set()
            if found and not {MODEL} <= found <= OWN:
                raise UserError(f"{path}: holds other files than a saved classifier; give another directory")
            with sealed_directory(path) as directory:
                learned.save(directory)
                write_json(directory / MODEL, sections.to_values(Model(FORMAT, learned.kind, self.settings)))
        except OSError as error:  # a full disk, a missing permission
            reason = error.strerror or error
            raise UserError(f"{path}: cannot be written ({reason}); give a directory that can be") from None


def load(
    path: str | Path,
    memory: str | Path | None = None,
    settings: Settings | None = None,
    *,
    device: str | None = None,
    callback: Listener | None = None,
) -> DERClassifier:
    """Load the classifier in ``path``, which predicts, evaluates and can learn more classes.

    ``path`` is a directory that ``save`` wrote, or a step's checkpoint directory of a pipeline, such as
    data/checkpoints/2. A checkpoint also needs a ``memory`` directory and ``settings``, by default those of
    the same project: data/memory/2 and params.yaml. Labels of a pipeline are text. ``device`` and
    ``callback`` are those of ``DERClassifier``.

    User-defined functions named in a saved file, module:function, are never imported automatically; import
    their modules first. Raises UserError naming files that are missing, damaged or do not belong together.
    """
    directory = Path(path)
    with torch.inference_mode(False):  # in no mode of the caller: the network may learn further elsewhere
        if (directory / MODEL).is_file():
            if memory is not None:
                raise UserError(f"memory: {directory} holds its own; leave the argument out")
            content, where = SealedDirectory(directory).read_json(MODEL), f"{directory / MODEL}"
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise UserError(f"{where}: not a classifier of format {FORMAT}; teach and save it again")
            saved = parsing.parse(Model, content, where)
            learned = read_pair(directory / CHECKPOINT, directory / MEMORY, saved.labels)
            found = saved.settings
        else:  # a step of a pipeline
            place = Path(os.path.abspath(directory))  # "." has no name
            if memory is None and place.name == CHECKPOINT and (place.parent / MODEL).is_file():
                raise UserError(
                    f"{directory}: the checkpoint alone of a saved classifier; give {place.parent}"
                )
            root = place.parent.parent.parent
            beside = root / "data" / "memory" / place.name if memory is None else Path(memory)
            learned = read_pair(directory, beside, "str")
            found = settings or read_settings(root / "params.yaml")
    if settings is None:
        with naming(directory):
            choices.check_choices_imported(found)
    model = DERClassifier(settings or found, device=device, callback=callback)
    model._learned = learned
    return model


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

    ``images`` holds the training images (N, H, W, C) of each class. Raises UserError if they, the labels or
    the settings do not fit the earlier steps, and where ``train_step`` and ``build_memory`` raise it.
    """
    check_continuation(previous, images, kind, settings)
    before, memory = (None, empty_memory()) if previous is None else (previous.checkpoint, previous.memory)
    steps = [*([] if before is None else before.metadata.steps), [str(label) for label in classes]]
    check_budget(settings.memory, sum(map(len, steps)))  # here, not after hours of training
    network, start = settings.network, None
    if before is None and network.weights is not None:
        start = read_start(network, network.weights)
    inputs = step.prepare_step(
        before, steps, images, memory, network, settings.train, device, start, warnings.warn
    )
    trained = step.train_step(inputs, listener, resume.StateKeeper()).checkpoint
    memory = build_memory(
        memory, images, settings.memory, features_of(trained.network, trained.metadata.normalization, device)
    ).copy()
    trained.network.cpu()
    return Learned(trained, memory, kind)


def compress_step(
    learned: Learned, rows: list[ImageRows], settings: Settings, device: torch.device, listener: Listener
) -> Learned:
    """Compress the network with the images of each class, and compute the class means of memory anew."""
    checkpoint, own, train = learned.checkpoint, settings.compress, settings.train
    network, normalization = checkpoint.metadata.network, checkpoint.metadata.normalization
    images = TrainingImages(join(rows), np.repeat(np.arange(len(rows)), [*map(len, rows)]))
    kernels = engine.choose_kernels(network, own.schedule, images, train.precision, device, warnings.warn)
    steps = len(checkpoint.metadata.steps)
    run = engine.StepRun(steps, 0, normalization, train, device, listener, resume.StateKeeper(), kernels)
    compressed = compress(run, checkpoint, images, own)
    memory = with_own_means(learned.memory, compressed, device)
    compressed.network.cpu()
    return Learned(compressed, memory, learned.kind)


def check_continuation(
    previous: Learned | None, images: Sequence[NDArray[np.uint8]], kind: LabelKind, settings: Settings
) -> None:
    """Raise UserError unless a step on ``images`` can follow ``previous``."""
    if previous is None:
        channels = images[0].shape[3]
        choices.check_channels(settings.network, channels, "give images in colour, or None")
        return
    check_form(previous, images[0])
    check_kind(previous, kind)
    if replace(settings.network, weights=None) != replace(previous.checkpoint.metadata.network, weights=None):
        raise UserError("settings: the network differs from the one learned before; begin anew with fit")


def check_kind(learned: Learned, kind: LabelKind) -> None:
    """Raise UserError unless labels have the type of the learned ones: the text "1" is not the number 1."""
    if kind != learned.kind:
        words = {"int": "whole numbers", "str": "text"}
        raise UserError(f"labels: {words[kind]}; those learned are {words[learned.kind]}, give the same")


def check_form(learned: Learned, images: NDArray[np.uint8]) -> None:
    """Raise UserError unless images have the side and channels of the learned ones."""
    _, side, _, channels = images.shape
    metadata = learned.checkpoint.metadata
    if (side, channels) != (metadata.image_side, metadata.channels):
        raise UserError(
            f"images: {side} pixels a side and {channels} channels; those learned have "
            f"{metadata.image_side} and {metadata.channels}, give the same"
        )


def read_pair(checkpoint: Path, memory: Path, kind: LabelKind) -> Learned:
    """Read a step's checkpoint and memory; raises UserError if they belong to different steps."""
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
    if learned.memory.class_means.shape[1] != loaded.network.head.in_features:  # the whole network's means
        return Learned(loaded, with_own_means(learned.memory, loaded, torch.device("cpu")), kind)
    return learned
