"""What a network takes an image for.

# K classes seen
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Prediction(NamedTuple):
    """A class that an image may show."""

    name: str
    probability: float  # from 0 to 1


def top_predictions(probabilities_K: NDArray[np.float32], names: list[str], count: int) -> list[Prediction]:
    """The ``count`` most probable classes; of equal ones that of the smaller label first."""
    order = np.argsort(-probabilities_K, kind="stable")[:count]
    return [Prediction(names[label], float(probabilities_K[label])) for label in order]
