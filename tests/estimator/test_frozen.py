"""A classifier on a frozen network's features: exactly incremental, with more images of old classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import der
from tests.builders import random_images
from tests.estimator.tiny import SHORT, noise, taught
from tests.model.tiny_timm import BACKBONE, SIDE, write_weights

pytestmark = pytest.mark.slow

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_weights(tmp_path_factory.mktemp("weights")))


def photos(*labels: int, seed: int = 0, count: int = 6) -> Arrays:
    images = [random_images(100 * seed + label, count, SIDE) // 2 + 12 * label for label in labels]
    return np.concatenate(images), np.repeat(labels, count)


def frozen(weights: str, **changes: Any) -> der.DERClassifier:
    own = {"network__backbone": BACKBONE, "network__weights": weights, "memory__budget": 3}
    return der.DERClassifier("photos", device="cpu", **own | changes)


def head_of(model: der.DERClassifier) -> bytes:
    head = model.network_.head
    return head.weight.detach().numpy().tobytes() + head.bias.detach().numpy().tobytes()


def test_steps_give_the_bits_of_all_at_once(weights: str, tmp_path: Path) -> None:
    steps = [photos(1, 2), photos(3), photos(5, 4)]
    model = frozen(weights)
    for number, (images, labels) in enumerate(steps):
        model.partial_fit(images, labels)
        if number == 1:  # a saved one goes on likewise
            model.save(tmp_path / "model")
            model = der.load(tmp_path / "model", device="cpu")
    images, labels = (np.concatenate(one) for one in zip(*steps, strict=True))
    whole = frozen(weights).partial_fit(images, labels, order=[1, 2, 3, 4, 5])
    assert model.classes_.tolist() == [1, 2, 3, 4, 5] and head_of(model) == head_of(whole)
    assert (model.predict(images) == labels).mean() > 0.9
    # Exemplars of old classes are among three images a class, the means of which are those of the memory.
    assert model.evaluate(images, labels)["top1"] == pytest.approx(100 * model.score(images, labels))
    other = frozen(weights, train__classifier="lda", train__shrinkage=0.5).partial_fit(images, labels)
    assert head_of(other) != head_of(whole)


def test_more_images_of_old_classes_join_alone_or_beside_new_ones(weights: str) -> None:
    first, more, new = photos(1, 2), photos(2, seed=1), photos(3)
    alone = frozen(weights).partial_fit(*first).partial_fit(*more).partial_fit(*new)
    mixed = frozen(weights).partial_fit(*first)
    mixed.partial_fit(*(np.concatenate(pair) for pair in zip(new, more, strict=True)))
    images, labels = (np.concatenate(three) for three in zip(first, more, new, strict=True))
    at_once = frozen(weights).partial_fit(images, labels)
    assert head_of(alone) == head_of(mixed) == head_of(at_once)
    assert head_of(alone) != head_of(frozen(weights).partial_fit(*first).partial_fit(*new))
    assert len(alone.history_) == 3 and alone.history_["step"].tolist() == [1, 1, 2]


def test_old_images_train_another_network_beside_the_exemplars() -> None:
    first, beside = taught((1, 2)), noise(2, 3)
    only_new = beside[0][beside[1] == 3], beside[1][beside[1] == 3]
    mixed, plain = taught((1, 2)).partial_fit(*beside), taught((1, 2)).partial_fit(*only_new)
    assert mixed.classes_.tolist() == plain.classes_.tolist() == [1, 2, 3]
    assert mixed.predict_proba(beside[0]).tobytes() != plain.predict_proba(beside[0]).tobytes()
    with pytest.raises(der.UserError, match=r"^labels: no new class; only a frozen network"):
        first.partial_fit(*noise(1))


def test_a_checkpoint_alone_predicts_and_says_what_it_lacks(weights: str, tmp_path: Path) -> None:
    model = frozen(weights).partial_fit(*photos(1, 2))
    model.save(tmp_path / "model")
    for name in ("checkpoint", "memory"):
        (tmp_path / "model" / name).rename(tmp_path / name)
    lone = der.load(tmp_path / "checkpoint", tmp_path / "memory", model.settings_, device="cpu")
    assert (lone.predict(photos(1, 2)[0]) == photos(1, 2)[1].astype(str)).all()
    with pytest.raises(der.UserError, match=r"^features: those of the classes learned before are missing"):
        lone.partial_fit(photos(3)[0], ["3"] * 6)


@pytest.mark.parametrize("method", ["logistic", "lda"])
def test_rebalancing_fits_the_features_of_all_images(method: str) -> None:
    changes = {**SHORT, "train__incremental__rebalancing": method, "memory__budget": 12}
    model = taught((1, 2), (3, 4), **changes)
    plain = taught((1, 2), (3, 4), **{**changes, "train__incremental__rebalancing": "none"})
    images, labels = noise(1, 2, 3, 4)
    assert (model.transform(images) == plain.transform(images)).all()  # the extractors are those
    assert model.history_["phase"].tolist() == ["representation", "representation", "classifier"]
    assert model.score(images, labels) > plain.score(images, labels)
    with pytest.raises(der.UserError, match=r"^network\.head_bias: false, but rebalancing"):
        taught((1, 2), (3, 4), **changes, network__head_bias=False)


def test_images_less_familiar_than_most_are_unknown(weights: str, tmp_path: Path) -> None:
    model = frozen(weights).partial_fit(*photos(1, 2, 3, count=12))
    images = np.concatenate([photos(1, 2, 3, count=12, seed=1)[0], random_images(0, 20, SIDE)])
    features, logits = model.transform(images).astype(float), np.log(model.predict_proba(images))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    of_each = model.transform(photos(1, 2, 3, count=12)[0]).astype(float).reshape(3, 12, -1)
    means = (of_each / np.linalg.norm(of_each, axis=2, keepdims=True)).mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    centred = logits - logits.mean(axis=1, keepdims=True)
    model.save(tmp_path / "model")
    found = json.loads((tmp_path / "model/checkpoint/network.json").read_text())["familiarity"]
    score = (
        np.log(np.exp(centred).sum(axis=1)) / found["energy"]
        + (features @ means.T).max(axis=1) / found["likeness"]
    )
    expected = np.where(score >= found["least"], model.predict(images), -1)
    assert 0 < (expected == -1).sum() < len(images)
    assert model.predict(images, unknown=-1).tolist() == expected.tolist()
    with pytest.raises(der.UserError, match=r"^unknown: this network cannot tell; one that stays frozen can"):
        taught((1, 2)).predict(noise(1)[0], unknown=-1)
    for label, fault in (("?", "labels: text; those learned are"), (3, "unknown: 3 is a class that")):
        with pytest.raises(der.UserError, match=f"^{fault}"):
            model.predict(images, unknown=label)

    # The AUROC over all pairs of an image of a class, whose outputs are left out, and one of another class.
    images, labels = photos(1, 2, 3, count=5, seed=2)
    features, logits = model.transform(images).astype(float), np.log(model.predict_proba(images))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    shares = []
    for label in range(3):
        rest = [other for other in range(3) if other != label]
        centred = logits[:, rest] - logits[:, rest].mean(axis=1, keepdims=True)
        near = (features @ means[rest].T).max(axis=1)
        score = np.log(np.exp(centred).sum(axis=1)) / found["energy"] + near / found["likeness"]
        unknown = labels == label + 1
        shares += [np.mean(score[~unknown][:, None] > score[unknown])]
    assert model.evaluate(images, labels)["unknown_auroc"] == pytest.approx(100 * np.mean(shares), abs=1e-3)
    assert "unknown_auroc" not in frozen(weights).partial_fit(*photos(1, 2)).evaluate(*photos(1, 2))
