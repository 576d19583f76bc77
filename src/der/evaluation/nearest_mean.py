"""Prediction by nearest mean of exemplars.

B test images, C classes seen, D features
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.model.normalization import in_parts, normalize_features


def nearest_mean_scores(
    features_BD: NDArray[np.floating[Any]], means_CD: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Nearest mean of exemplars (iCaRL, section 3.1): minus the L2 distance to each class mean, (B, C).

    Features are L2-normalised here; ``means_CD`` are taken as they are. In float64, so that the
    expanded square loses nothing that counts.
    """
    means = means_CD.astype(np.float64, copy=False)
    return np.concatenate([_scores(some, means) for some in in_parts(features_BD)])


def _scores(features_BD: NDArray[np.floating[Any]], means_CD: NDArray[np.float64]) -> NDArray[np.float64]:
    features = normalize_features(features_BD)
    squares_BC = (features**2).sum(1)[:, None] + (means_CD**2).sum(1) - 2 * features @ means_CD.T
    scores_BC: NDArray[np.float64] = -np.sqrt(np.maximum(squares_BC, 0))
    return scores_BC
