"""Measures over steps, from the metrics of each. All accuracies are in percent, rounded to 4 decimals.

T steps
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from der.evaluation.metrics import StepMetrics


class StepSummary(TypedDict):
    """One step's part of the summary; None where a measure does not exist."""

    classes: int
    test_images: int
    top1: float
    top5: float
    old: float | None
    new: float
    nme_top1: float
    parameters: int
    parameters_trained: int
    memory_images: int
    gamma: float | None


class Summary(TypedDict):
    """What metrics/summary.json holds. DVC passes over None, as it does over a missing key."""

    average_top1: float
    average_top5: float
    last_top1: float
    last_top5: float
    average_nme_top1: float
    forgetting: float | None
    mean_parameters: float  # over steps, after pruning
    steps: dict[str, StepSummary]


def summarise(steps: list[StepMetrics]) -> Summary:
    """Sum up the metrics of steps 1..T.

    Averages are means over all steps, the first included ("average incremental accuracy").
    ``forgetting`` is None if T = 1.
    """
    assert [one["step"] for one in steps] == list(range(1, len(steps) + 1))
    digits = len(str(len(steps)))  # `dvc metrics diff` orders keys as text
    rows = {f"{one['step']:0{digits}}": _step_summary(one) for one in steps}
    return {
        "average_top1": average([one["top1"] for one in steps]),
        "average_top5": average([one["top5"] for one in steps]),
        "last_top1": steps[-1]["top1"],
        "last_top5": steps[-1]["top5"],
        "average_nme_top1": average([one["nme"]["top1"] for one in steps]),
        "forgetting": forgetting(accuracy_matrix(steps)),
        "mean_parameters": average([one["parameters"] for one in steps]),
        "steps": rows,
    }


def _step_summary(step: StepMetrics) -> StepSummary:
    return {
        "classes": step["classes"],
        "test_images": step["test_images"],
        "top1": step["top1"],
        "top5": step["top5"],
        "old": step["old"],
        "new": step["new"],
        "nme_top1": step["nme"]["top1"],
        "parameters": step["parameters"],
        "parameters_trained": step["parameters_trained"],
        "memory_images": step["memory_images"],
        "gamma": None if step["gamma"] is None else round(step["gamma"], 4),
    }


def average(values: Sequence[float]) -> float:
    """The mean, rounded as all measures are."""
    return round(sum(values) / len(values), 4)


def accuracy_matrix(steps: list[StepMetrics]) -> NDArray[np.float64]:
    """Accuracy after step k (row k - 1) on the classes of step i (column i - 1), (T, T); NaN for i > k."""
    matrix = np.full((len(steps), len(steps)), np.nan)
    for row, step in enumerate(steps):
        matrix[row, : row + 1] = [step["per_step"][str(i)] for i in range(1, row + 2)]
    return matrix


def forgetting(matrix: NDArray[np.float64]) -> float | None:
    """Average forgetting after the last step (Chaudhry et al., ECCV 2018, section 3), in points.

    For each earlier step's classes the best accuracy before the last step minus the accuracy after
    it; the mean over those steps. Negative where accuracy rose. ``matrix`` is ``accuracy_matrix``'s;
    None for one step, which has nothing to forget.
    """
    if len(matrix) == 1:
        return None
    best = np.nanmax(matrix[:-1, :-1], axis=0)
    return round(float(np.mean(best - matrix[-1, :-1])), 4)
