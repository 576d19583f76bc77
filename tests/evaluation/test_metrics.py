"""Metrics, predictions and mistakes against brute force, tables by hand and the network; their files."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from der.core.errors import DamageError, UserError
from der.core.files import read_json, sealed_directory, write_array
from der.evaluation import results
from der.evaluation.evaluate import judge_tests
from der.model.architecture import Outputs
from der.model.checkpoint import Checkpoint
from der.model.network import fold_network, outputs_by_class, run_network
from tests.builders import CPU, random_checkpoint, random_images

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]


def test_breakdown_of_a_hand_made_table() -> None:
    #   label:           0  0  0  0  1  1  2  3  3  3
    ranks_B = np.array([0, 0, 0, 5, 0, 1, 0, 4, 5, 0])
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 3])
    steps = [["a", "b"], ["c"], ["d"]]
    assert results.breakdown(ranks_B, labels, steps, group_labels=3) == {
        "top1": 60.0,
        "top5": 80.0,  # ranks 0 to 4
        "old": 71.4286,  # 5 of the 7 images of labels 0, 1, 2, not the mean of their accuracies
        "new": 33.3333,
        "per_step": {"1": 66.6667, "2": 100.0, "3": 33.3333},
        "per_group": {"0-2": 71.4286, "3-3": 33.3333},
        "per_class": {"a": 75.0, "b": 50.0, "c": 100.0, "d": 33.3333},
    }


FEW_VALUES = st.sampled_from([-np.inf, -1.5, 0.0, -0.0, 1e-30, 2.0, 3.0, np.inf])  # so that many are equal
VALUES = FEW_VALUES | st.floats(width=32, allow_nan=False)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Scores, Labels]:
    """Scores (B, C) and labels (B,), a test image or more of every class."""
    classes = draw(st.integers(1, 8))
    more = draw(st.lists(st.integers(0, classes - 1), max_size=12))
    labels = draw(st.permutations([*range(classes), *more]))
    return draw(arrays(np.float32, (len(labels), classes), elements=VALUES)), np.array(labels)


@st.composite
def steps_of(draw: st.DrawFn, classes: int) -> list[list[str]]:
    """Any division of the classes into steps."""
    ends = sorted(draw(st.sets(st.integers(1, classes - 1)))) if classes > 1 else []
    names = [f"class {label}" for label in range(classes)]
    return [names[low:high] for low, high in zip([0, *ends], [*ends, classes], strict=True)]


@given(scored())
def test_a_rank_is_the_place_in_the_sorted_row(given_: tuple[Scores, Labels]) -> None:
    scores, labels = given_
    for row, label, rank in zip(scores.tolist(), labels.tolist(), results.ranks(scores, labels), strict=True):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        assert order[rank] == label


@given(scored(), st.integers(1, 9), st.data())
def test_a_breakdown_adds_up(given_: tuple[Scores, Labels], group_labels: int, data: st.DataObject) -> None:
    scores, labels = given_
    classes = scores.shape[1]
    steps = data.draw(steps_of(classes))
    ranks_B = results.ranks(scores, labels)
    found = results.breakdown(ranks_B, labels, steps, group_labels)
    right = ranks_B == 0
    counts = np.bincount(labels, minlength=classes)
    names = [name for step in steps for name in step]
    assert list(found["per_class"]) == names
    assert list(found["per_step"]) == [str(k) for k in range(1, len(steps) + 1)]
    assert len(found["per_group"]) == -(-classes // group_labels)

    def images_right(accuracies: dict[str, float], sizes: list[int]) -> float:
        """Images predicted right, of parts with so many classes each."""
        ends = np.cumsum(sizes)
        assert ends[-1] == classes
        images = [counts[end - size : end].sum() for end, size in zip(ends, sizes, strict=True)]
        return float(np.dot(list(accuracies.values()), images)) / 100

    groups = [min(group_labels, classes - low) for low in range(0, classes, group_labels)]
    for accuracies, sizes in (
        (found["per_class"], [1] * classes),
        (found["per_step"], [len(step) for step in steps]),
        (found["per_group"], groups),
    ):
        assert images_right(accuracies, sizes) == pytest.approx(right.sum(), abs=1e-3)
    assert found["top1"] == pytest.approx(100 * right.mean(), abs=1e-4)
    assert found["top1"] <= found["top5"] == pytest.approx(100 * (ranks_B < results.TOP_K).mean(), abs=1e-4)
    assert found["new"] == found["per_step"][str(len(steps))]
    assert (found["old"] is None) == (len(steps) == 1)


@given(scored())
def test_a_confusion_matrix_holds_every_image_once(given_: tuple[Scores, Labels]) -> None:
    scores, labels = given_
    predicted = scores.argmax(axis=1)
    counts = results.confusion_matrix(labels, predicted, scores.shape[1])
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(labels, minlength=scores.shape[1]))
    np.testing.assert_array_equal(counts.sum(axis=0), np.bincount(predicted, minlength=scores.shape[1]))
    assert np.trace(counts) == (results.ranks(scores, labels) == 0).sum()


def test_any_class_name_survives_the_confusion_file(tmp_path: Path) -> None:
    names = ["plain", "with, comma", 'say "hi"', "größer 猫", "true", "NA", "007", " spaced ", "1e5"]
    names += ["=1+1", "'quoted", "@a"]
    counts = np.random.default_rng(7).integers(0, 50, size=(len(names), len(names)))
    with sealed_directory(tmp_path / "1") as directory:
        results.write_confusion(directory, counts, names)
    read, read_names = results.read_confusion(tmp_path / "1")
    assert read_names == names
    np.testing.assert_array_equal(read, counts)
    text = (tmp_path / "1/confusion.csv").read_text(encoding="utf-8")
    cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
    assert "'=1+1" in cells and not [cell for cell in cells if cell.startswith(("=", "@"))]


CHECKPOINT = random_checkpoint([3, 2])
MEANS = np.random.RandomState(0).rand(5, 128).astype(np.float32)
TESTS = [random_images(seed, count) for seed, count in enumerate([4, 1, 6, 3, 2])]


def outputs_of(checkpoint: Checkpoint) -> Iterator[Outputs]:
    network = fold_network(checkpoint.network, CPU)
    return outputs_by_class(network, checkpoint.metadata.normalization, TESTS, CPU)


def test_ranks_and_predictions_are_those_of_the_network_s_scores() -> None:
    judged = judge_tests(CHECKPOINT.metadata, MEANS, TESTS, outputs_of(CHECKPOINT))
    whole = run_network(CHECKPOINT.network, CHECKPOINT.metadata.normalization, np.concatenate(TESTS), CPU)
    expected = np.array([0] * 4 + [1] + [2] * 6 + [3] * 3 + [4] * 2)
    assert judged.labels.tolist() == expected.tolist()
    best = np.argsort(-whole.logits, axis=1)
    assert judged.predictions.predicted.tolist() == best[:, 0].tolist()
    assert judged.ranks.tolist() == np.argmax(best == expected[:, None], axis=1).tolist()
    units = whole.features.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    nearest = np.argsort(np.linalg.norm(units[:, None] - MEANS, axis=2), axis=1)
    assert judged.nme_ranks.tolist() == np.argmax(nearest == expected[:, None], axis=1).tolist()
    exponents = np.exp(whole.logits - whole.logits.max(1, keepdims=True)).astype(np.float64)
    np.testing.assert_allclose(
        judged.predictions.confidence, (exponents / exponents.sum(1, keepdims=True)).max(1), rtol=1e-4
    )


def test_scores_that_are_not_finite_are_refused() -> None:
    checkpoint = random_checkpoint([3, 2])
    checkpoint.network.head.bias.data[1] = float("inf")
    with pytest.raises(UserError, match=r"^step 2: the network's scores are not finite; train it again$"):
        judge_tests(checkpoint.metadata, MEANS, TESTS, outputs_of(checkpoint))


NAMES = ["ant", "bee", "cat", "dog"]


def softmax(logits: list[float]) -> list[float]:
    """As it is written in books."""
    powers = [math.exp(logit) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


def find(logits: Any, labels: Any, most: int = results.MOST) -> Any:
    return results.find_mistakes(results.predict(np.asarray(logits)), np.asarray(labels), NAMES, most)


def test_of_equal_logits_the_first_is_predicted_and_large_ones_do_not_overflow() -> None:
    predictions = results.predict(np.array([[1.0, 2.0, 2.0], [1e5, 0.0, -1e5]], np.float32))
    assert predictions.predicted.tolist() == [1, 0]
    assert predictions.confidence[1] == 1


@pytest.mark.parametrize("images", [5, 400])
def test_order_matches_sorting_by_softmax(images: int) -> None:
    rng = np.random.default_rng(images)
    logits = rng.normal(0, 3, (images, 4)).astype(np.float32)
    labels = rng.integers(0, 4, images)
    wrong = []
    for index in range(images):
        probabilities = softmax(logits[index].tolist())
        predicted = probabilities.index(max(probabilities))
        if predicted != labels[index]:
            wrong.append((-max(probabilities), index, NAMES[labels[index]], NAMES[predicted]))
    found = find(logits, labels)
    assert len(found) == len(wrong)
    for entry, (minus, index, true, predicted_name) in zip(found, sorted(wrong), strict=True):
        assert (entry.index, entry.true, entry.predicted) == (index, true, predicted_name)
        assert entry.probability == pytest.approx(-minus, abs=1e-6)


def test_equal_probabilities_keep_their_order() -> None:
    logits = np.tile(np.array([[2.0, 0.0, 0.0, 0.0]]), (2 * results.SUREST, 1))
    logits[70] = [9.0, 0.0, 0.0, 0.0]
    found = find(logits, np.ones(2 * results.SUREST, np.int64), results.SUREST)
    assert [entry.index for entry in found] == [70, *range(results.SUREST - 1)]


def test_every_pair_has_its_turn_after_the_surest() -> None:
    # 60 sure mistakes of one pair, then 5 unsure ones of another: there is room for three beyond the surest.
    logits = np.array([[5.0, 0, 0, 0]] * 60 + [[0, 0, 1.0, 0]] * 5)
    found = find(logits, [1] * 60 + [3] * 5, results.SUREST + 3)
    assert [entry.index for entry in found] == [*range(results.SUREST), 60, 61, 62]


def test_how_many_are_kept_depends_on_their_size() -> None:
    assert results.most_mistakes(8 * 8) == results.most_mistakes(32 * 32) == results.MOST
    assert results.most_mistakes(64 * 64) == results.MOST_PIXELS // 64**2
    assert results.most_mistakes(224 * 224) == results.SUREST


def test_pictures_are_those_of_the_indices() -> None:
    tests = [random_images(label, count) for label, count in enumerate((3, 1, 5))]
    entries = find(np.eye(3)[[1, 0, 1, 0, 0, 1, 2, 1, 0]], np.repeat([0, 1, 2], (3, 1, 5)))
    mistakes = results.with_images(entries, tests)
    together = np.concatenate(tests)
    assert len(entries) == 7
    for image, entry in zip(mistakes.images, entries, strict=True):
        np.testing.assert_array_equal(image, together[entry.index])


def test_files_hold_what_was_written(tmp_path: Path) -> None:
    logits = np.random.default_rng(1).normal(0, 1, (9, 3))
    predictions, tests = results.predict(logits), [random_images(0, 9)]
    mistakes = results.with_images(find(logits, np.zeros(9, int)), tests)
    with sealed_directory(tmp_path / "1") as directory:
        results.write_predictions(directory, predictions)
        results.write_mistakes(directory, mistakes)
    read, again = results.read_predictions(tmp_path / "1"), results.read_mistakes(tmp_path / "1")
    np.testing.assert_array_equal(read.predicted, predictions.predicted)
    np.testing.assert_array_equal(read.confidence, predictions.confidence)
    assert (read.predicted.dtype, read.confidence.dtype) == (np.int32, np.float32)
    assert again.entries == mistakes.entries
    np.testing.assert_array_equal(again.images, mistakes.images)
    written = read_json(tmp_path / "1" / "mistakes.json")
    assert [*written[0]] == ["true", "predicted", "probability", "number"]
    write_array(tmp_path / "1/confidence.npy", np.ones(9, np.float32))
    with pytest.raises(DamageError, match=r"confidence\.npy: damaged"):
        results.read_predictions(tmp_path / "1")
