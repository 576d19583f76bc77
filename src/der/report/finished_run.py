"""What a page shows, as data.

# T steps, K classes seen after the last one
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.data.exemplars import Memory
from der.evaluation.metrics import StepMetrics
from der.evaluation.mistakes import Mistakes
from der.summary.charts.accuracy import Curve
from der.summary.series import Summary
from der.train.log import EpochRecord


@dataclass(frozen=True)
class FinishedRun:
    """Steps 1..T; everything without a step of its own is of the last one."""

    summary: Summary
    steps: list[StepMetrics]
    confusion: NDArray[np.int64]  # (K, K), true classes down
    names: list[str]  # of classes, in label order
    logs: list[list[EpochRecord]]  # of the training of each step
    memory: Memory
    mistakes: Mistakes
    published: list[Curve]
    parameters: dict[str, Any]  # nested, as in params.yaml
