"""What a step's network says of every test image: the class it predicts, and how sure it is.

# B test images in label order, K classes seen
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.core.errors import UserError
from der.core.files import write_array
from der.core.sealed import SealedDirectory

PREDICTED = "predicted.npy"  # in the directory of a step's evaluation, as CONFIDENCE
CONFIDENCE = "confidence.npy"


@dataclass(frozen=True)
class Predictions:
    """One predicted class for each image."""

    predicted: NDArray[np.int32]  # (B,) labels
    confidence: NDArray[np.float32]  # (B,) softmax of the predicted class


def predict(logits_BK: NDArray[np.floating[Any]]) -> Predictions:
    """The class of the largest logit, the first of equal ones, and its softmax, computed in float64."""
    logits = logits_BK.astype(np.float64)
    # The predicted class has the largest logit, so its softmax is one over this sum.
    confidence_B = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)
    return Predictions(logits_BK.argmax(1).astype(np.int32), confidence_B.astype(np.float32))


def write_predictions(directory: Path, predictions: Predictions) -> None:
    """Write both arrays into the directory of a step's evaluation."""
    write_array(directory / PREDICTED, predictions.predicted)
    write_array(directory / CONFIDENCE, predictions.confidence)


def read_predictions(path: Path) -> Predictions:
    """Read what ``write_predictions`` wrote; raises UserError naming a file that is missing or damaged."""
    sealed = SealedDirectory(path)
    predicted, confidence = sealed.read_array(PREDICTED), sealed.read_array(CONFIDENCE)
    kinds = ((PREDICTED, predicted, np.int32), (CONFIDENCE, confidence, np.float32))
    for name, array, kind in kinds:
        if array.dtype != kind or array.shape != predicted.shape[:1]:
            raise UserError(f"{path / name}: no predictions; run the step's evaluation again")
    return Predictions(predicted, confidence)
