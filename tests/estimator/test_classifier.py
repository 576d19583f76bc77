"""DERClassifier: steps, predictions, metrics, what is refused; modes, folders, threads."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError

import der
from tests.estimator.tiny import noise, state_of, taught, tiny_classifier
from tests.locations import ROOT


def test_classes_grow_step_by_step_sorted_or_as_ordered() -> None:
    model = taught((7, 3))
    assert model.classes_.tolist() == [3, 7]
    model.partial_fit(*noise(5, 1, 2), order=[2, 5, 1])
    assert model.classes_.tolist() == [3, 7, 2, 5, 1]
    assert model.predict_proba(noise(1)[0]).shape == (6, 5)
    for order in ([8], [8, 8], [8, 6], [8, 9, 6]):
        with pytest.raises(der.UserError, match=r"^order: "):
            model.partial_fit(*noise(8, 9), order=order)
    again = state_of(model.fit(*noise(1, 2)))
    assert again == state_of(taught((1, 2))) != state_of(taught((1, 2), train__seed=1))


def test_probabilities_add_up_and_predictions_are_the_likeliest_labels() -> None:
    model = taught(("b", "a"), ("c",))
    images, labels = noise("a", "b", "c")
    probabilities = model.predict_proba(images)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    predicted = model.predict(images)
    assert predicted.tolist() == [["a", "b", "c"][place] for place in probabilities.argmax(1)]
    assert model.score(images, labels) == pytest.approx(np.mean(predicted == labels))
    weights = (labels == "a").astype(float)
    assert model.score(images, labels, weights) == pytest.approx(np.mean(predicted[labels == "a"] == "a"))
    assert model.score(images, np.array(["d"] * len(images))) == 0


def test_metrics_are_of_the_classes_learned_and_agree_with_the_predictions() -> None:
    model = taught((1, 2), (3,))
    images, labels = noise(1, 2, 3)
    metrics = model.evaluate(images, labels)
    assert metrics["step"] == 2 and metrics["classes"] == 3 and metrics["test_images"] == len(images)
    assert metrics["top1"] == pytest.approx(100 * model.score(images, labels), abs=1e-4)
    assert [*metrics["per_class"]] == ["1", "2", "3"]


def test_a_class_of_few_images_warns_of_a_classifier_learned_from_few() -> None:
    model = taught(("a", "b"), train__incremental__rebalancing="classifier_learning")
    images, labels = noise("c")
    with pytest.warns(UserWarning, match=r"^training images of class c: 2, .* 6 of 14; add some, or"):
        model.partial_fit(images[:2], labels[:2])


def test_before_the_first_step_there_is_nothing_to_ask() -> None:
    images, labels = noise(1, 2)
    model = tiny_classifier()
    for ask in (
        lambda: model.predict(images),
        lambda: model.predict_proba(images),
        lambda: model.evaluate(images, labels),
        lambda: model.classes_,
        lambda: model.save("nowhere"),
    ):
        with pytest.raises(NotFittedError, match="partial_fit"):
            ask()


class Interrupted(Exception):
    """In place of Ctrl-C."""


class Interrupter(der.Listener):
    """Ends training after the first epoch."""

    def on_epoch(self, record: der.EpochRecord) -> None:
        raise Interrupted


def test_an_interrupted_step_leaves_the_classifier_as_it_was() -> None:
    model = taught((1, 2))
    before = state_of(model)
    model.callback = Interrupter()
    with pytest.raises(Interrupted):
        model.partial_fit(*noise(3, 4))
    assert model.classes_.tolist() == [1, 2] and state_of(model) == before
    model.callback = None
    assert state_of(model.partial_fit(*noise(3, 4))) == state_of(taught((1, 2), (3, 4)))


images, labels = noise(3, 4)

REFUSED: list[tuple[Any, Any, str]] = [
    (*noise(2, 3), r"labels: 2 learned at an earlier step"),
    (images[:0], labels[:0], r"images: there is none"),
    (images, labels[:-1], r"labels: 11 for 12 images"),
    (images.astype(np.float32), labels, r"images: float32 of shape \(12, 8, 8\)"),
    (images.tolist(), labels, r"images: a list is no array"),
    (images[0], labels[:1], r"images: uint8 of shape \(8, 8\)"),
    (images[:, :, :6], labels, r"images: 8 x 6 pixels"),
    (images[:, :4, :4], labels, r"images: 4 x 4 pixels"),
    (*noise(3, 4, side=9), r"images: 9 pixels a side and 1 channels"),
    (np.stack([images] * 3, axis=-1), labels, r"images: 8 pixels a side and 3 channels"),
    (np.stack([images] * 2, axis=-1), labels, r"images: uint8 of shape \(12, 8, 8, 2\)"),
    (images, labels.astype(float), r"labels: float64 does not fit"),
    (images, labels.astype(bool), r"labels: bool does not fit"),
    (images, labels.astype(str), r"labels: text; those learned are whole numbers"),
    (images, [*labels[:-1].tolist(), "x"], r"labels: object does not fit; give whole numbers alone or text"),
    (images, [None] * len(images), r"labels: object does not fit"),
    (images, labels[:, None], r"labels: shape \(12, 1\)"),
    (images, [[1], [1, 2]], r"labels: object does not fit"),
    (*noise(*range(10, 25)), r"memory.budget: 12 leaves no exemplar"),
]


@pytest.fixture(scope="module")
def known() -> der.DERClassifier:
    """A classifier that knows 1 and 2."""
    return taught((1, 2))


@pytest.mark.parametrize(("images", "labels", "sentence"), REFUSED)
def test_what_cannot_be_learned_changes_nothing(
    known: der.DERClassifier, images: Any, labels: Any, sentence: str
) -> None:
    before = state_of(known)
    with pytest.raises(der.UserError, match=sentence) as caught:
        known.partial_fit(images, labels)
    assert "\n" not in str(caught.value)
    assert known.classes_.tolist() == [1, 2] and state_of(known) == before


def test_settings_may_be_numbers_of_numpy() -> None:
    changed = tiny_classifier(
        train__seed=np.int64(3), train__base__learning_rate=np.float64(0.5), network__expansion=np.bool_(True)
    )
    plain = tiny_classifier(train__seed=3, train__base__learning_rate=0.5, network__expansion=True)
    assert state_of(changed.partial_fit(*noise(1, 2))) == state_of(plain.partial_fit(*noise(1, 2)))
    with pytest.raises(der.UserError, match=r"^train\.seed: a object does not fit; "):
        tiny_classifier(train__seed=object()).partial_fit(*noise(1, 2))


def test_metrics_need_images_of_exactly_the_classes_learned(known: der.DERClassifier) -> None:
    with pytest.raises(der.UserError, match="labels: 3 not learned"):
        known.evaluate(*noise(1, 2, 3))
    with pytest.raises(der.UserError, match="labels: 2 without an image"):
        known.evaluate(*noise(1))
    with pytest.raises(der.UserError, match="images: 9 pixels"):
        known.evaluate(*noise(1, 2, side=9))
    with pytest.raises(der.UserError, match="images: float64"):
        known.predict(noise(1)[0].astype(float))


def test_numbers_are_not_the_text_that_says_them() -> None:
    for model in (taught((1, 2)), taught(("1", "2"))):
        images, labels = noise(1, 2)
        given, known = (
            ("text", "whole numbers") if model.classes_.dtype.kind == "i" else ("whole numbers", "text")
        )
        other = labels.astype(str if given == "text" else int)
        for ask in (model.score, model.evaluate):
            with pytest.raises(der.UserError, match=f"^labels: {given}; those learned are {known}, give"):
                ask(images, other)


def test_another_network_cannot_go_on() -> None:
    model = taught((1, 2)).set_params(network__depth=14)
    with pytest.raises(der.UserError, match="network"):
        model.partial_fit(*noise(3))


def test_parameters_are_those_of_scikit_learn() -> None:
    model = tiny_classifier(train__seed=5)
    params = model.get_params()
    assert params["train__seed"] == 5 and params["settings"] is model.settings
    copied = clone(model)
    assert copied.settings == model.settings and not copied.__sklearn_is_fitted__()
    model.set_params(train__seed=6, device=None)
    assert model.settings.train.seed == 6 and model.device is None and copied.settings.train.seed == 5
    assert is_classifier(model) and f"{model!r}" == "DERClassifier(learned nothing)"
    assert not any(name.startswith(("dataset", "protocol")) for name in params)  # arrays decide on these
    wrong: dict[str, Any] = {"train__sed": 1, "seed": 1, "train__seed": -1, "train__masks__sharpness": 3.0}
    wrong |= {"dataset__seed": 1, "protocol__first_classes": 2}
    for name, value in wrong.items():
        with pytest.raises(der.UserError):
            model.set_params(**{name: value})
    assert model.settings.train.seed == 6


class Named(der.DERClassifier):
    """A subclass with an argument of its own."""

    def __init__(self, settings: der.Settings, *, name: str = "none", **others: Any) -> None:
        super().__init__(settings, **others)
        self.name = name


def test_a_subclass_is_cloned_with_its_own_arguments() -> None:
    model = Named(tiny_classifier().settings, name="first", device="cpu", train__seed=7)
    copied = clone(model)
    assert isinstance(copied, Named) and (copied.name, copied.device) == ("first", "cpu")
    assert copied.settings.train.seed == 7
    assert copied.set_params(name="second").get_params()["name"] == "second"


def test_arguments_are_named_as_in_scikit_learn() -> None:
    images, labels = noise(1, 2)
    model = tiny_classifier().fit(X=images, y=labels).partial_fit(X=noise(3)[0], y=noise(3)[1])
    assert model.score(X=images, y=labels, sample_weight=None) == model.score(images, labels)
    assert (model.predict(X=images) == model.predict(images)).all()


def test_channels_are_those_of_the_arrays() -> None:
    grey = tiny_classifier(network__mean=[0.5], network__std=[0.5])
    assert replace(grey.settings.dataset, channels=3) != grey.settings.dataset
    colour = replace(grey.settings, dataset=replace(grey.settings.dataset, channels=3))
    der.DERClassifier(colour, device="cpu").fit(*noise(1, 2))


@pytest.mark.parametrize("callback", [print, der.Listener, [der.Listener()]])
def test_a_callback_that_is_no_listener_is_refused(callback: Any) -> None:
    with pytest.raises(der.UserError, match=r"^callback: give an object of a class derived"):
        tiny_classifier(callback).partial_fit(*noise(1, 2))


def test_learning_needs_no_mode_of_torch(tmp_path: Path) -> None:
    expected = taught((1, 2), (3,))
    with torch.inference_mode():
        model = taught((1, 2))
        model.save(tmp_path / "model")
        loaded = der.load(tmp_path / "model", device="cpu")
        state_of(model)
        model.partial_fit(*noise(3))
        assert not torch.is_grad_enabled()
    assert state_of(model) == state_of(loaded.partial_fit(*noise(3))) == state_of(expected)


def test_a_step_is_loaded_from_inside_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = taught(("a", "b"))
    model.save(tmp_path / "model")
    for name in ("checkpoint", "memory"):
        shutil.copytree(tmp_path / "model" / name, tmp_path / f"data/{name}s/1".replace("memorys", "memory"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for here, path in (("data/checkpoints/1", "."), ("data/memory", "../checkpoints/1")):
        monkeypatch.chdir(tmp_path / here)
        assert state_of(der.load(path, device="cpu")) == state_of(model)


def test_arguments_that_do_not_go_with_a_saved_classifier(tmp_path: Path) -> None:
    path = tmp_path / "model"
    taught((1, 2)).save(path)
    with pytest.raises(der.UserError, match=rf"checkpoint: the checkpoint alone of .+; give {path}$"):
        der.load(path / "checkpoint")
    with pytest.raises(der.UserError, match=rf"^memory: {path} holds its own; leave the argument out$"):
        der.load(path, memory="nowhere")


@pytest.mark.parametrize(
    "changes", [{}, {"network__backbone": "tests.train.dropping:dropping", "train__base__epochs": 10}]
)
def test_threads_that_learn_at_once_learn_the_same(changes: dict[str, Any]) -> None:
    """Also where dropout draws from the generator that all threads share."""
    expected = state_of(taught((1, 2), **changes))
    with ThreadPoolExecutor(3) as pool:
        found = [*pool.map(lambda _: state_of(taught((1, 2), **changes)), range(3))]
    assert set(found) == {expected}
