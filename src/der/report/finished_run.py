"""What a page shows, as data.

# T steps, K classes seen after the last one, B test images of these
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.core.cost import (StageTime)
from der.data.arrays import (Memory)
from der.evaluation.metrics import StepMetrics
from der.evaluation.mistakes import Mistakes, Predictions
from der.summary.charts.accuracy import Curve
from der.summary.series import Summary
from der.summary.verdict import Reference
from der.train.log import EpochRecord


@dataclass(frozen=True)
class Difference:
    """A parameter whose value is not the preset's; values as text."""

    key: str
    here: str
    there: str


@dataclass(frozen=True)
class Origin:
    """Where a run comes from."""

    source: str  # of the images
    identity: str  # of all images: a SHA-256 over the digests of their files
    preset: str  # the nearest one
    differences: list[Difference]  # from it
    seed: int
    revision: str | None  # of the code; None outside of a repository


@dataclass(frozen=True)
class FinishedRun:
    """Steps 1..T; everything without a step of its own is of the last one."""

    summary: Summary
    steps: list[StepMetrics]
    confusions: list[NDArray[np.int64]]  # of every step, (K_k, K_k), true classes down
    names: list[str]  # of classes, in label order
    logs: list[list[EpochRecord]]  # of the training of each step
    memory: Memory
    exemplars: list[NDArray[np.int64]]  # of every step, (K_k,): how many each class has
    predictions: Predictions  # (B,)
    mistakes: list[Mistakes]  # of every step
    published: list[Curve]
    joint: float | None  # top-1 of training on all classes at once
    references: list[Reference]  # what the results are compared to
    parameters: dict[str, Any]  # nested, as in params.yaml
    origin: Origin
    stages: list[str]  # that made the results, in the order in which they can run
    times: Mapping[str, StageTime]  # of those whose time is known, in that order
    digest: str  # of the results, by which the page is told from that of others

    @property
    def confusion(self) -> NDArray[np.int64]:
        """The confusion matrix after the last step, (K, K)."""
        return self.confusions[-1]

    @property
    def images(self) -> NDArray[np.int64]:
        """Test images of each class, (K,)."""
        return np.asarray(self.confusion.sum(axis=1))
