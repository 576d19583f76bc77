"""Predictions against softmax as it is written in books; the most confident mistakes; the files of both."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from der.core.errors import DamageError
from der.core.files import read_json, sealed_directory, write_array
from der.evaluation.results import (
    MOST,
    MOST_PIXELS,
    SUREST,
    find_mistakes,
    most_mistakes,
    predict,
    read_mistakes,
    read_predictions,
    with_images,
    write_mistakes,
    write_predictions,
)
from tests.builders import random_images

NAMES = ["ant", "bee", "cat", "dog"]


def softmax(logits: list[float]) -> list[float]:
    """As it is written in books."""
    powers = [math.exp(logit) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


def find(logits: Any, labels: Any, most: int = MOST) -> Any:
    return find_mistakes(predict(np.asarray(logits)), np.asarray(labels), NAMES, most)


def test_of_equal_logits_the_first_is_predicted_and_large_ones_do_not_overflow() -> None:
    predictions = predict(np.array([[1.0, 2.0, 2.0], [1e5, 0.0, -1e5]], np.float32))
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
    logits = np.tile(np.array([[2.0, 0.0, 0.0, 0.0]]), (2 * SUREST, 1))
    logits[70] = [9.0, 0.0, 0.0, 0.0]
    found = find(logits, np.ones(2 * SUREST, np.int64), SUREST)
    assert [entry.index for entry in found] == [70, *range(SUREST - 1)]


def test_every_pair_has_its_turn_after_the_surest() -> None:
    # 60 sure mistakes of one pair, then 5 unsure ones of another: there is room for three beyond the surest.
    logits = np.array([[5.0, 0, 0, 0]] * 60 + [[0, 0, 1.0, 0]] * 5)
    found = find(logits, [1] * 60 + [3] * 5, SUREST + 3)
    assert [entry.index for entry in found] == [*range(SUREST), 60, 61, 62]


def test_how_many_are_kept_depends_on_their_size() -> None:
    assert most_mistakes(8 * 8) == most_mistakes(32 * 32) == MOST
    assert most_mistakes(64 * 64) == MOST_PIXELS // 64**2
    assert most_mistakes(224 * 224) == SUREST


def test_pictures_are_those_of_the_indices() -> None:
    tests = [random_images(label, count) for label, count in enumerate((3, 1, 5))]
    entries = find(np.eye(3)[[1, 0, 1, 0, 0, 1, 2, 1, 0]], np.repeat([0, 1, 2], (3, 1, 5)))
    mistakes = with_images(entries, tests)
    together = np.concatenate(tests)
    assert len(entries) == 7
    for image, entry in zip(mistakes.images, entries, strict=True):
        np.testing.assert_array_equal(image, together[entry.index])


def test_files_hold_what_was_written(tmp_path: Path) -> None:
    logits = np.random.default_rng(1).normal(0, 1, (9, 3))
    predictions, tests = predict(logits), [random_images(0, 9)]
    mistakes = with_images(find(logits, np.zeros(9, int)), tests)
    with sealed_directory(tmp_path / "1") as directory:
        write_predictions(directory, predictions)
        write_mistakes(directory, mistakes)
    read, again = read_predictions(tmp_path / "1"), read_mistakes(tmp_path / "1")
    np.testing.assert_array_equal(read.predicted, predictions.predicted)
    np.testing.assert_array_equal(read.confidence, predictions.confidence)
    assert (read.predicted.dtype, read.confidence.dtype) == (np.int32, np.float32)
    assert again.entries == mistakes.entries
    np.testing.assert_array_equal(again.images, mistakes.images)
    written = read_json(tmp_path / "1" / "mistakes.json")
    assert [*written[0]] == ["true", "predicted", "probability", "number"]
    write_array(tmp_path / "1/confidence.npy", np.ones(9, np.float32))
    with pytest.raises(DamageError, match=r"confidence\.npy: damaged"):
        read_predictions(tmp_path / "1")
