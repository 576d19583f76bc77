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
from tests.builders import Recorder
from tests.estimator.tiny import SHORT, noise, state_of, taught, tiny_classifier
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
    (*noise(2), r"labels: no new class; only a frozen network"),
    (images[:0], labels[:0], r"images: there is none"),
    (images, labels[:-1], r"labels: 11 for 12 images"),
    (images.astype(np.float32), labels, r"images: float32 from 0 to \d+; give floats in \[0, 1\], not norm"),
    (images / np.float32(255) - 1, labels, r"images: float32 from -1 to "),
    (images.astype(int), labels, r"images: int64 of shape \(12, 8, 8, 1\) does not fit"),
    (images.tolist(), labels, r"images: a list among them; give uint8 or floats in \[0, 1\] of shape"),
    (np.stack([images] * 2, axis=-1), labels, r"images: uint8 of shape \(12, 8, 8, 2\) does not fit"),
    (images[:, :3, :, None][..., [0, 0, 0]], labels, r"images: .* may have its channels first or last; give"),
    (images[:, :0], labels, r"images: uint8 of shape \(12, 0, 8\) does not fit"),
    ([], labels, r"images: there is none"),
    (iter(images), labels, r"images: a list_iterator|images: a iterator does not fit"),
    (["nowhere.png"] * 12, labels, r"12 pictures cannot be read"),
    (images, None, r"labels: there is none; y should be a 1d array, or X pairs of image"),
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
    with pytest.raises(der.UserError, match=r"^train\.seed: .*object.* does not fit; "):
        tiny_classifier(train__seed=object()).partial_fit(*noise(1, 2))


def test_metrics_need_images_of_exactly_the_classes_learned(known: der.DERClassifier) -> None:
    with pytest.raises(der.UserError, match="labels: 3 not learned"):
        known.evaluate(*noise(1, 2, 3))
    with pytest.raises(der.UserError, match="labels: 2 without an image"):
        known.evaluate(*noise(1))
    with pytest.raises(der.UserError, match="images: float64 from"):
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


def test_settings_are_given_by_a_preset_s_name_or_chosen_by_the_images() -> None:
    short = {**SHORT, "network__depth": 8, "memory__budget": 12}
    named = der.DERClassifier("digits", device="cpu", **short)
    assert named.settings == clone(named).settings == "digits"
    assert state_of(named.fit(*noise(1, 2))) == state_of(taught((1, 2)))
    chosen = clone(der.DERClassifier(device="cpu", **short))
    assert chosen.settings is None and not hasattr(chosen, "settings_")
    chosen.partial_fit(*noise(1, 2)).partial_fit(*noise(3))
    assert chosen.settings_.memory.allocation == "per_class" and chosen.settings_.train.base.epochs == 1
    assert clone(chosen).settings is None
    with pytest.raises(der.UserError, match=r"^digit: no preset of that name; did you mean digits"):
        der.DERClassifier("digit")
    with pytest.raises(der.UserError, match=r"^train\.sed: unknown key; did you mean seed"):
        der.DERClassifier(train__sed=1)


def test_presets_are_listed_with_a_sentence() -> None:
    listed = der.presets()
    assert {"digits", "notebook", "photos"} <= set(listed) and all(map(der.preset, listed))
    assert listed["photos"].startswith("Your own photos, some dozen a class: ")


def test_a_random_state_is_the_seed_of_training() -> None:
    assert state_of(clone(tiny_classifier(random_state=1)).fit(*noise(1, 2))) == state_of(
        taught((1, 2), train__seed=1)
    )
    model = taught((1, 2), random_state=np.int64(1), train__seed=2)
    assert model.settings_.train.seed == 1 and model.set_params(random_state=None).settings_.train.seed == 2


def test_epochs_are_shown_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    heard = Recorder()
    model = tiny_classifier(heard, verbose=True, train__base__epochs=2)
    model.partial_fit(*noise(1, 2)).partial_fit(*noise(3))
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in printed] == ["step 1"] * 2 + ["step 2"]
    history = model.history_
    assert [*history.columns] == ["step", *der.EpochRecord._fields]
    assert history["step"].tolist() == [1, 1, 2] and history["epoch"].tolist() == [1, 2, 1]
    assert history["loss"].tolist() == [record.loss for record in heard.records]
    assert len(model.fit(*noise(1, 2)).history_) == 2


def test_classes_that_will_come_are_only_checked(known: der.DERClassifier) -> None:
    model = tiny_classifier().partial_fit(*noise(1, 2), classes=np.arange(1, 6)).partial_fit(*noise(4))
    assert state_of(model) == state_of(taught((1, 2), (4,)))
    assert model.predict_proba(noise(1)[0]).shape == (6, 3)
    for of, listed, sentence in [
        (model, None, r"^classes: without 9; list all that will ever come, or none$"),
        (model, [1, 2, 4, 9], r"^classes: others than at an earlier step; give the same, or leave them out$"),
        (known, [1, 9], r"^classes: without 2;"),
        (known, ["1", "2", "9"], r"^classes: without 1, 2, 9;"),
    ]:
        before = state_of(of)
        with pytest.raises(der.UserError, match=sentence):
            of.partial_fit(*noise(9), classes=listed)
        assert state_of(of) == before


def test_another_network_cannot_go_on() -> None:
    model = taught((1, 2)).set_params(network__depth=14)
    with pytest.raises(der.UserError, match="network"):
        model.partial_fit(*noise(3))


def test_parameters_are_those_of_scikit_learn() -> None:
    model = tiny_classifier(train__seed=5)
    params = model.get_params()
    assert params["train__seed"] == 5 and params["settings"] is model.settings
    copied = clone(model)
    assert copied.get_params() == params and not copied.__sklearn_is_fitted__()
    model.set_params(train__seed=6, device=None)
    assert model.get_params()["train__seed"] == 6 and model.device is None
    assert copied.get_params()["train__seed"] == 5
    assert model.set_params(train={**params["train"], "seed": 7}).get_params()["train"]["seed"] == 7
    assert model.set_params(train__seed=6).get_params()["train"]["seed"] == 6
    assert is_classifier(model) and f"{model!r}" == "DERClassifier(learned nothing)"
    assert not any(name.startswith(("dataset", "protocol")) for name in params)  # arrays decide on these
    wrong: dict[str, Any] = {"train__sed": 1, "seed": 1, "train__seed": -1, "train__masks__sharpness": 3.0}
    wrong |= {"dataset__seed": 1, "protocol__first_classes": 2}
    for name, value in wrong.items():
        with pytest.raises(der.UserError):
            model.set_params(**{name: value})
    assert model.get_params()["train__seed"] == 6


class Named(der.DERClassifier):
    """A subclass with an argument of its own."""

    def __init__(self, settings: der.Settings, *, name: str = "none", **others: Any) -> None:
        super().__init__(settings, **others)
        self.name = name


def test_a_subclass_is_cloned_with_its_own_arguments() -> None:
    model = Named(tiny_classifier().settings, name="first", device="cpu", random_state=8, train__seed=7)
    copied = clone(model)
    assert isinstance(copied, Named) and (copied.name, copied.device) == ("first", "cpu")
    assert copied.get_params()["train__seed"] == 7 and copied.random_state == 8
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
