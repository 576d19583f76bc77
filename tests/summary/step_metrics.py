"""Metrics of steps, made by hand."""

from itertools import accumulate

from der.evaluation.results import Breakdown, StepMetrics

# After step k (row), on the classes of step i (column).
MATRIX = [[90.0], [70.0, 80.0], [75.0, 60.0, 95.0]]


def make_breakdown(top1: float, per_step: list[float]) -> Breakdown:
    return {
        "top1": top1,
        "top5": 100.0,
        "old": None if len(per_step) == 1 else per_step[0],
        "new": per_step[-1],
        "per_step": {str(i): accuracy for i, accuracy in enumerate(per_step, start=1)},
        "per_group": {"0-9": top1},
        "per_class": {},
    }


def make_steps(matrix: list[list[float]], sizes: list[int]) -> list[StepMetrics]:
    return [
        {
            "step": k,
            "classes": classes,
            "test_images": 10 * classes,
            **make_breakdown(max(row[-1] - k, 0.0), row),
            "nme": make_breakdown(max(row[-1] - 2 * k, 0.0), row),
            "parameters": 463504 * k,
            "parameters_trained": 463504,
            "memory_images": 200,
            "gamma": None if k == 1 else 0.123456,
        }
        for k, (row, classes) in enumerate(zip(matrix, accumulate(sizes), strict=True), start=1)
    ]
