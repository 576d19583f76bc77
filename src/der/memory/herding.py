"""Choosing exemplars (iCaRL, Rebuffi et al. 2017, algorithm 4) and class means.

# N images of a class, D features, m exemplars
"""

import numpy as np
from numpy.typing import NDArray

from der.model.normalization import in_parts, normalize_features


def herd(features_ND: NDArray[np.floating], exemplars: int) -> NDArray[np.int64]:
    """Indices of the ``min(exemplars, N)`` images chosen by herding, in the order chosen.

    Each pick is the image, not chosen before, that brings the mean of the chosen features nearest to the
    mean of all (both of normalised features, L2 distance); rounding decides ties.
    """
    features = normalize_features(features_ND)
    # ||mean - (s + f) / j||^2 = const + ((2 s.f + f.f) / j - 2 mean.f) / j, s the sum of those chosen.
    to_mean = features @ features.mean(axis=0)
    squared = np.concatenate([(some**2).sum(axis=1) for some in in_parts(features)])
    to_sum = np.zeros(len(features))
    free = np.ones(len(features), dtype=bool)
    chosen = []
    for count in range(1, min(exemplars, len(features)) + 1):
        cost = (2 * to_sum + squared) / count - 2 * to_mean
        pick = int(np.argmin(np.where(free, cost, np.inf)))
        chosen.append(pick)
        free[pick] = False
        to_sum += features @ features[pick]
    return np.array(chosen, dtype=np.int64)


def class_mean(features_ND: NDArray[np.floating]) -> NDArray[np.float32]:
    """Mean (D,) of the normalised features, normalised again: a class's point for nearest-mean prediction."""
    mean = normalize_features(features_ND).mean(axis=0, keepdims=True)
    unit: NDArray[np.float64] = normalize_features(mean)[0]
    return unit.astype(np.float32)
