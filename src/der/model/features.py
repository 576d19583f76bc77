"""Features as herding and nearest-mean prediction compare them.

# N images, D features
"""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

ROWS = 1024  # of features that are worked on at once
Real = TypeVar("Real", bound=np.floating)
EPSILON = 1e-8  # added to norms, so that a zero feature stays zero


def normalize_features(features_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows divided by their L2 norm, in float64."""
    wide: NDArray[np.float64] = features_ND.astype(np.float64)
    for some in in_parts(wide):
        some /= np.linalg.norm(some, axis=1, keepdims=True) + EPSILON
    return wide


def in_parts(features_ND: NDArray[Real]) -> Iterator[NDArray[Real]]:
    """Views of neighbouring rows, for what would else take as much memory as all of them once more."""
    for start in range(0, len(features_ND), ROWS):
        yield features_ND[start : start + ROWS]
