"""Features as herding and nearest-mean prediction compare them.

# N images, D features
"""

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-8  # added to norms, so that a zero feature stays zero


def normalize_features(features_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows divided by their L2 norm, in float64."""
    wide: NDArray[np.float64] = features_ND.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True) + EPSILON
    return wide
