"""A classifier that learns step by step and follows scikit-learn's conventions, and its files.

It does not import scikit-learn's base classes, which take as long as torch, but has their methods. A step
does the work of stages train_task and build_memory, with arrays instead of files. A saved classifier is a
checkpoint and a memory as the stages write them, with the settings for further steps.

# N images, of a class where there are several arrays, H and W pixels, C channels, K classes learned
"""

import dataclasses
import os
from collections.abc import Sequence
from contextlib import nullcontext
from inspect import Parameter, signature
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from der.core import files, registry
from der.core.device import choose_device, reproducible
from der.core.errors import UserError, naming
from der.data.arrays import every_row
from der.estimator import arrays, choices, hub
from der.estimator import learned as learning
from der.estimator.arrays import Images, Label, LabelKind, Labelled, order_new, split_known
from der.evaluation import evaluate, results
from der.inference.predictor import Predictor
from der.model.network import Network, outputs_of
from der.settings import parsing, sections
from der.settings.experiment import Settings, read_settings
from der.train.log import EpochRecord, Listener, Progress, Several

if TYPE_CHECKING:
    import pandas

    from der.estimator.keywords import Changes

MODEL = "model.json"
FORMAT = 1  # of that file
OWN = {MODEL, files.MANIFEST, *learning.DIRECTORIES}  # its top-level entries
OWN_ARGUMENTS = ("settings", "device", "callback", "random_state", "verbose")


class Model(sections.Section, frozen=True):
    format: int
    labels: LabelKind
    settings: Settings


class DERClassifier:
    """Dynamically Expandable Representation (Yan, Xie, He; CVPR 2021) on arrays of images.

    Every call of ``partial_fit`` is an incremental step: it adds new classes and one feature extractor; old
    classes are exemplars in memory. A frozen network does not grow. A call that fails or is interrupted does
    not change the classifier. The same data, settings and machine give the same network, bit for bit.

    Parameters
    ----------
    settings
        The name of a preset (``der.presets()`` lists them), ``der.preset(name)`` or
        ``der.read_settings(path)``. None chooses by the images of the first step: above 64 pixels preset
        photos (needs timm), else notebook (from 5,000 on) or digits, fitted to side and colours, with 20
        exemplars of each class; training mirrors colour images. Of sections dataset and protocol only
        dataset.image_side counts: it is the side of images that are not squares of one size, and of all if
        it is given as keyword.
    device
        "cuda", "cuda:1", "mps" or "cpu"; None chooses the best available one.
    callback
        An object of a class derived from ``der.Listener``, which is told of phases, batches and epochs.
    random_state
        A seed that replaces train.seed; None keeps it.
    verbose
        Whether to show the progress of each step by ``der.Progress``.
    changes
        Single values of the settings by keyword, with two underscores for each dot: ``train__seed=1``.

    Attributes
    ----------
    classes_ : array (K,)
        The learned labels, integers or text, in the network's order.
    settings_ : Settings
        The settings in use.
    history_ : pandas.DataFrame
        A row for every epoch; needs pandas.
    network_ : torch.nn.Module
        The network.

    Raises
    ------
    UserError
        For invalid settings. Like all errors here it is a ValueError with one sentence.
    """

    def __init__(
        self,
        settings: Settings | str | None = None,
        *,
        device: str | None = None,
        callback: Listener | None = None,
        random_state: int | None = None,
        verbose: bool = False,
        **changes: "Unpack[Changes]",
    ) -> None:
        self._changes: dict[str, Any] = {**changes}
        choices.resolve(settings, self._changes, random_state)
        self.settings, self.device, self.callback = settings, device, callback
        self.random_state, self.verbose = random_state, verbose
        self._suited: Settings | None = None  # to the images, where ``settings`` is None
        self._learned: learning.Learned | None = None
        self._predictor: Predictor | None = None
        self._metrics: results.StepMetrics | None = None  # of the last step, if it was evaluated

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments; with ``deep`` all values of the settings, if they are given."""
        own = {name: getattr(self, name) for name in self._own_names()} | self._changes
        if not deep or self.settings is None:
            return own
        return own | choices.list_values(sections.all_values(choices.resolve(self.settings, self._changes)))

    def set_params(self, **params: Any) -> Self:
        """Set arguments of the constructor, or single settings; raises UserError for invalid ones."""
        own = {name: params.pop(name) for name in self._own_names() if name in params}
        changes = {name: value for name, value in self._changes.items() if name not in params} | params
        settings, seed = own.get("settings", self.settings), own.get("random_state", self.random_state)
        choices.resolve(settings, changes, seed)
        for name, value in own.items():
            setattr(self, name, value)
        self._changes = changes
        self._predictor = None  # of another device, perhaps
        return self

    def _own_names(self) -> list[str]:
        """List the constructor's arguments, those of a subclass too, without single values of settings."""
        kinds = {name: one.kind for name, one in signature(type(self)).parameters.items()}
        open_ended = Parameter.VAR_KEYWORD in kinds.values()
        several = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
        named = [name for name, kind in kinds.items() if kind not in several]
        return [*dict.fromkeys([*(OWN_ARGUMENTS if open_ended else ()), *named])]

    def fit(self, X: Images, y: Sequence[Label] | NDArray[Any] | None = None) -> Self:
        """Forget everything learned, and learn a first step; see ``partial_fit``."""
        return self._learn(None, X, y, None, None)

    def partial_fit(
        self,
        X: Images,
        y: Sequence[Label] | NDArray[Any] | None = None,
        classes: Sequence[Label] | NDArray[Any] | None = None,
        *,
        order: Sequence[Label] | None = None,
    ) -> Self:
        """Learn one step: new classes, and perhaps more images of old ones.

        Images of old classes join those that a frozen network (``network.tuned: none``) has, and may come
        alone. Other networks train on them once; some may become exemplars.

        Parameters
        ----------
        X
            Images, grey or in colour, of any of these forms. The first step sets the network's side and
            channels. Other images are converted as the pipeline does: scaled and centre-cropped.

            - NumPy arrays or torch tensors (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1 or 3: uint8, or
              floats in [0, 1];
            - a list of such arrays of different sizes, without N;
            - a list of PIL images;
            - a list of files, or a column of a pandas frame with them;
            - any object with ``__len__`` whose entries are pairs of such an image and its label, as a
              torch ``Dataset``.
        y : (N,)
            Labels: integers or text, of the same type at all steps; None: those of the pairs.
        classes
            All classes that will ever come, as in scikit-learn; only used to check labels.
        order
            The new labels in the order that the network will use; None: sorted.

        Raises
        ------
        UserError
            For images or labels of another form, no new class (unless the network is frozen), a memory budget
            too small for all classes, and a loss that is not finite.
        """
        return self._learn(self._learned, X, y, order, classes)

    def _learn(
        self,
        previous: learning.Learned | None,
        images: Images,
        labels: object,
        order: Sequence[Label] | None,
        listed: object,
    ) -> Self:
        rows = arrays.take(images, previous.form[1] if previous else None)
        suited, known, foreseen = self._suited, [], None
        if previous is None:
            sizes, channels = arrays.measure(rows)
            suited = choices.suit(sizes, channels, len(rows)) if self.settings is None else suited
            sizes = set() if choices.SIDE in self._changes else sizes
            form = choices.choose_form(self._resolve(suited), sizes, channels)
        else:
            form, known, foreseen = previous.form, previous.classes, previous.foreseen
        labelled = arrays.check_labelled(*arrays.scale(rows, *form), labels)
        classes = order_new(labelled.labels, known, order)
        settings = self._resolve(suited)
        if not classes and settings.network.tuned != "none":
            raise UserError("labels: no new class; only a frozen network (tuned: none) learns old ones again")
        foreseen = arrays.foresee(listed, foreseen, [*known, *classes])
        callback = Listener() if self.callback is None else self.callback
        if not isinstance(callback, Listener):
            raise UserError("callback: give an object of a class derived from der.Listener, or None")
        parts = labelled.of_each([*known, *classes])
        number = bool(classes) + (len(previous.checkpoint.metadata.steps) if previous else 0)
        with (
            reproducible(),
            torch.inference_mode(False),  # whatever the caller is in
            torch.enable_grad(),
            Progress(f"step {number}") if self.verbose else nullcontext() as bar,
        ):
            listener = Several(callback, bar) if bar else callback
            device = choose_device(self.device)
            learned = learning.learn_step(previous, classes, parts, labelled.kind, settings, device, listener)
        self._learned = dataclasses.replace(learned, foreseen=foreseen)
        self._predictor, self._metrics, self._suited = None, None, suited
        return self

    def _resolve(self, suited: Settings | None) -> Settings:
        settings = suited if self.settings is None else self.settings
        return choices.resolve(settings, self._changes, self.random_state)

    def __sklearn_is_fitted__(self) -> bool:
        return self._learned is not None

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
        )

    def __repr__(self) -> str:
        learned = f"{len(self._learned.classes)} classes" if self._learned else "nothing"
        return f"{type(self).__name__}(learned {learned})"

    @property
    def classes_(self) -> NDArray[Any]:
        """The learned labels (K,), in the network's order."""
        return np.array(self._known().classes)

    def _known(self) -> learning.Learned:
        if self._learned is None:
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this classifier has learned no class; call partial_fit first")
        return self._learned

    @property
    def settings_(self) -> Settings:
        """The settings in use: those given, or chosen at the first step, with all changes."""
        return choices.with_form(self._resolve(self._suited), *self._known().form)

    @property
    def history_(self) -> "pandas.DataFrame":
        """A row for each epoch since the classifier was made or loaded: its step and ``EpochRecord``."""
        rows = [(step, *record) for step, record in self._known().records]
        import pandas  # only now, and only here: it takes half a second

        return pandas.DataFrame(rows, columns=["step", *EpochRecord._fields])

    @property
    def network_(self) -> Network:
        """The network, from normalised images (N, C, H, W) to scores (N, K), on the CPU."""
        return self._known().checkpoint.network

    def predict(self, X: Images, unknown: Label | None = None) -> NDArray[Any]:
        """Return the most probable class of each image (N,); see ``predict_proba``.

        With ``unknown``, a label of the same type as the others, a frozen network (``network.tuned: none``)
        gives it to images that are like none of its classes.
        """
        if unknown is None:
            labels_N: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
            return labels_N
        learning.check_kind(self._known(), arrays.check_labels([unknown])[0])
        if unknown in self._known().classes:
            raise UserError(f"unknown: {unknown!r} is a class that was learned; give another label")
        images = self._scale(X)[0]
        with reproducible():
            probabilities_NK, known_N = self._choose_predictor().judge(images)
        return np.where(known_N, self.classes_[probabilities_NK.argmax(axis=1)], unknown)

    def predict_proba(self, X: Images) -> NDArray[np.float32]:
        """Return the probabilities (N, K) of the classes, in the order of ``classes_``.

        ``X`` has any form that ``partial_fit`` takes, or is a single image: N is then 1. Labels in it are
        ignored. Raises UserError for anything else, NotFittedError before the first step.
        """
        images = self._scale(X)[0]
        with reproducible():
            return self._choose_predictor()(images)

    def transform(self, X: Images) -> NDArray[np.float32]:
        """Return the features (N, D) of all extractors side by side; ``X`` is as for ``predict_proba``."""
        images = self._scale(X)[0]
        with reproducible():
            return self._choose_predictor().features(images)

    def _scale(self, images: Images) -> tuple[NDArray[np.uint8], list[Any]]:
        """Convert images to the network's form; return labels among them, too."""
        side, channels = self._known().form
        return arrays.scale(arrays.take(images, channels), side, channels)

    def _choose_predictor(self) -> Predictor:
        if self._predictor is None:
            self._predictor = Predictor(self._known().checkpoint, choose_device(self.device))
        return self._predictor

    def _label(self, images: Images, labels: object) -> Labelled:
        """Convert images to the network's form; raises UserError for labels of another type than learned."""
        labelled = arrays.check_labelled(*self._scale(images), labels)
        learning.check_kind(self._known(), labelled.kind)
        return labelled

    def score(
        self,
        X: Images,
        y: Sequence[Label] | NDArray[Any] | None = None,
        sample_weight: Sequence[float] | NDArray[Any] | None = None,
    ) -> float:
        """Return the accuracy of the predictions, from 0 to 1; labels may name unknown classes, too.

        ``X`` and ``y`` have any form that ``partial_fit`` takes. Raises UserError for anything else, and for
        labels of another type than the learned ones.
        """
        labelled = self._label(X, y)
        return float(np.average(self.predict(labelled.images) == labelled.labels, weights=sample_weight))

    def evaluate(self, X: Images, y: Sequence[Label] | NDArray[Any] | None = None) -> results.StepMetrics:
        """Return the ``der.StepMetrics`` after the last step, measured on test images of all classes.

        ``X`` and ``y`` have any form that ``partial_fit`` takes. Raises UserError for anything else, an
        unknown class, and a class without an image.
        """
        learned, labelled = self._known(), self._label(X, y)
        tests = split_known(labelled, learned.classes)
        with reproducible():
            metadata, device = learned.checkpoint.metadata, choose_device(self.device)
            network, means = learned.checkpoint.network, learned.checkpoint.means
            compute = outputs_of(network, metadata.normalization, device)
            judged = metadata, learned.memory, tests, compute(tests), self.settings_.evaluate
            exemplars, (in_checkpoint, in_memory) = None, learned.bytes
            if means is None:
                exemplars = evaluate.first_features(compute, learned.memory, network.extractors[0].features)
            evaluation = evaluate.evaluate_step(
                *judged,
                means_KD=means,
                exemplars=exemplars,
                checkpoint_bytes=in_checkpoint,
                memory_bytes=in_memory,
            )
            self._metrics = evaluation.metrics
        return self._metrics

    def compress(
        self, X: Images | None = None, y: Sequence[Label] | NDArray[Any] | None = None
    ) -> "DERClassifier":
        """Return a new classifier of one extractor, distilled from this one.

        It can learn more classes. Give the training images of the last step, in any form that ``partial_fit``
        takes; exemplars stand for the other classes. The settings are those of section compress.
        Raises UserError for labels of another type than the learned ones, and for an unknown class.
        """
        learned = self._known()
        rows = {label: learned.memory.of_class(number) for number, label in enumerate(learned.classes)}
        if X is not None:
            labelled = self._label(X, y)
            given = arrays.check_known(labelled, learned.classes)
            rows |= {label: every_row(labelled.of_each([label])) for label in given}
        other = DERClassifier(self.settings_, device=self.device, callback=self.callback)
        with reproducible(), torch.inference_mode(False), torch.enable_grad():
            device, listener = choose_device(self.device), self.callback or Listener()
            known = learned, [*rows.values()], self.settings_
            other._learned = learning.compress_step(*known, device, listener)
        return other

    def save(self, path: str | Path) -> None:
        """Write the classifier into the directory ``path``: checkpoint, memory and settings.

        ``path/checkpoint`` and ``path/memory`` are as stages write them. It replaces an earlier one.
        Raises UserError if ``path`` holds any other file or cannot be written, or if weights are not finite.
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
            with files.sealed_directory(path) as directory:
                learned.save(directory)
                saved = Model(FORMAT, learned.kind, self.settings_)
                files.write_json(directory / MODEL, sections.to_values(saved))
        except OSError as error:  # a full disk, a missing permission
            reason = error.strerror or error
            raise UserError(f"{path}: cannot be written ({reason}); give a directory that can be") from None

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, token: str | None = None, **options: Any
    ) -> str:
        """Save the classifier in a repository of Hugging Face's hub, with a model card; return its URL.

        ``der.load("hf:<repo_id>")`` reads it. The exemplars, which are training images, are sent too. The
        card lists classes, steps, memory, and the accuracy if ``evaluate`` ran after the last step. Needs
        huggingface_hub (``pip install 'der-pipeline[hub]'``), and raises its errors. ``options`` are those of
        its ``upload_folder``, such as ``commit_message``.
        """
        learned = self._known()
        with TemporaryDirectory() as directory:
            place = Path(directory) / "model"
            self.save(place)
            exemplars = len(learned.memory.labels)
            card = hub.write_card(repo_id, learned.checkpoint.metadata, exemplars, self._metrics)
            (place / hub.CARD).write_text(card, encoding="utf-8")
            return hub.push(place, repo_id, private, token, options)


def load(
    path: str | Path,
    memory: str | Path | None = None,
    settings: Settings | None = None,
    *,
    device: str | None = None,
    callback: Listener | None = None,
) -> DERClassifier:
    """Load a classifier that can learn on; ``settings``, if given, replace the saved ones.

    ``path`` is a directory that ``save`` wrote, or a step's checkpoint directory of a pipeline, such as
    data/checkpoints/2, or "hf:" and a repository of Hugging Face's hub, as ``push_to_hub`` makes it. A
    checkpoint also needs a ``memory`` directory and ``settings``, by default those of the same project:
    data/memory/2 and params.yaml. Labels of a pipeline are text. ``device`` and
    ``callback`` are those of ``DERClassifier``.

    User-defined functions named in a saved file, module:function, are never imported automatically; import
    their modules first. Raises UserError if files are missing, damaged or do not belong together.
    """
    directory = hub.fetch(str(path)) if str(path).startswith(hub.PREFIX) else Path(path)
    with torch.inference_mode(False):  # in no mode of the caller: the network may learn further elsewhere
        if (directory / MODEL).is_file():
            if memory is not None:
                raise UserError(f"memory: {directory} holds its own; leave the argument out")
            content, where = files.SealedDirectory(directory).read_json(MODEL), str(directory / MODEL)
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise UserError(f"{where}: not a classifier of format {FORMAT}; teach and save it again")
            saved = parsing.parse(Model, content, where)
            places = [directory / name for name in learning.DIRECTORIES]
            learned = learning.read_learned(*places, kind=saved.labels)
            found = saved.settings
        else:  # a step of a pipeline
            place = Path(os.path.abspath(directory))  # "." has no name
            if memory is None and place.name == learning.CHECKPOINT and (place.parent / MODEL).is_file():
                fault = f"{directory}: the checkpoint alone of a saved classifier"
                raise UserError(f"{fault}; give {place.parent}")
            root = place.parent.parent.parent
            beside = root / "data" / "memory" / place.name if memory is None else Path(memory)
            features = root / "data" / learning.FEATURES / place.name / "train"
            learned = learning.read_learned(directory, beside, features, kind="str")
            found = settings or read_settings(root / "params.yaml")
    if settings is None:
        with naming(directory):
            for key in choices.CHOICES:
                registry.check_imported(attrgetter(key)(found), key)
    model = DERClassifier(settings or found, device=device, callback=callback)
    model._learned = learned
    return model
