"""What a page shows, as data.

# T steps, K classes seen after the last one
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from der.data.exemplars import Memory
from der.evaluation.metrics import StepMetrics
from der.evaluation.mistakes import Mistakes
from der.summary.series import Summary


@dataclass(frozen=True)
class Curve:
    """Published top-1 accuracies of a protocol."""

    name: str  # what was run, in a few words
    source: str  # where it was published, in full
    classes: list[int]  # seen after each step
    top1: list[float]  # in percent


@dataclass(frozen=True)
class Run:
    """Steps 1..T; everything without a step of its own is of the last one."""

    summary: Summary
    steps: list[StepMetrics]
    confusion: NDArray[np.int64]  # (K, K), true classes down
    names: list[str]  # of classes, in label order
    log: pd.DataFrame  # see der.summary.logs
    memory: Memory
    mistakes: Mistakes
    published: list[Curve]
    parameters: dict[str, Any]  # nested, as in params.yaml
