"""Predictions against softmax as it is written in books, and the files that hold them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from der.core.errors import DamageError, UserError
from der.core.files import write_array
from der.core.sealed import sealed_directory
from der.evaluation.predictions import Predictions, predict, read_predictions, write_predictions


def test_confidence_is_the_softmax_of_the_predicted_class() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 7)).astype(np.float32)
    predictions = predict(logits)
    for row, predicted, confidence in zip(
        logits.tolist(), predictions.predicted, predictions.confidence, strict=True
    ):
        powers = [math.exp(logit) for logit in row]
        assert row[predicted] == max(row)
        assert confidence == pytest.approx(max(powers) / math.fsum(powers), rel=1e-6)


def test_of_equal_logits_the_first_is_predicted_and_large_ones_do_not_overflow() -> None:
    predictions = predict(np.array([[1.0, 2.0, 2.0], [1e5, 0.0, -1e5]], np.float32))
    assert predictions.predicted.tolist() == [1, 0]
    assert predictions.confidence[1] == 1


def save(path: Path, predicted: Any, confidence: Any) -> None:
    with sealed_directory(path) as directory:
        write_predictions(directory, Predictions(predicted, confidence))


def test_files_hold_what_was_written(tmp_path: Path) -> None:
    predictions = predict(np.random.default_rng(1).normal(0, 1, (9, 3)))
    save(tmp_path / "1", predictions.predicted, predictions.confidence)
    read = read_predictions(tmp_path / "1")
    np.testing.assert_array_equal(read.predicted, predictions.predicted)
    np.testing.assert_array_equal(read.confidence, predictions.confidence)
    assert (read.predicted.dtype, read.confidence.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize(
    ("predicted", "confidence", "file"),
    [
        (np.zeros(3, np.int64), np.zeros(3, np.float32), "predicted"),
        (np.zeros((3, 1), np.int32), np.zeros(3, np.float32), "predicted"),
        (np.zeros(3, np.int32), np.zeros(2, np.float32), "confidence"),
        (np.zeros(3, np.int32), np.zeros(3), "confidence"),
    ],
)
def test_other_arrays_are_no_predictions(predicted: Any, confidence: Any, file: str, tmp_path: Path) -> None:
    save(tmp_path / "1", predicted, confidence)
    with pytest.raises(UserError, match=rf"{file}\.npy: no predictions; run the step's evaluation again$"):
        read_predictions(tmp_path / "1")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    save(tmp_path / "1", np.zeros(3, np.int32), np.zeros(3, np.float32))
    write_array(tmp_path / "1/confidence.npy", np.ones(3, np.float32))
    with pytest.raises(DamageError, match=r"confidence\.npy: damaged"):
        read_predictions(tmp_path / "1")
