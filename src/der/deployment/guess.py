"""What a network takes an image for.

# K classes seen
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Guess(NamedTuple):
    """A class that an image may show."""

    name: str
    probability: float  # from 0 to 1


def best_guesses(probabilities_K: NDArray[np.float32], names: list[str], count: int) -> list[Guess]:
    """The ``count`` most probable classes; of equal ones that of the smaller label first."""
    order = np.argsort(-probabilities_K, kind="stable")[:count]
    return [Guess(names[label], float(probabilities_K[label])) for label in order]
