"""The most probable classes of one image."""

import numpy as np

from der.inference.predictor import Prediction, top_predictions


def test_top_predictions_by_probability_then_label() -> None:
    names = ["a", "b", "c", "d"]
    row = np.array([0.125, 0.5, 0.25, 0.125], np.float32)
    assert top_predictions(row, names, 3) == [
        Prediction("b", 0.5),
        Prediction("c", 0.25),
        Prediction("a", 0.125),
    ]
    assert [guess.name for guess in top_predictions(row, names, 9)] == ["b", "c", "a", "d"]
