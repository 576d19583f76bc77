"""The metrics of all steps of the protocol, and their summary."""

from pathlib import Path

from der.core.errors import DamageError, UserError
from der.core.files import read_json
from der.core.sealed import SealedDirectory
from der.evaluation.metrics import METRICS, StepMetrics
from der.pipeline import paths
from der.pipeline.paths import (is_unused)
from der.pipeline.steps import (chain_length)
from der.summary.series import Summary, summarise


def read_steps() -> list[StepMetrics]:
    """Metrics of steps 1..T, T the protocol's last; raises UserError for a file that is missing or damaged.

    In the protocol's order and up to its end, never whatever else lies in the folder: a chain that was
    longer leaves its last steps behind.
    """
    steps: list[StepMetrics] = []
    for step in range(1, chain_length() + 1):
        path = paths.evaluation(step)
        if not path.exists():
            raise UserError(f"{path}: no metrics; run `dvc repro`")
        if is_unused(path):
            break
        steps.append(_read(path))
    return steps


def _read(path: Path) -> StepMetrics:
    metrics = SealedDirectory(path).read_json(METRICS)
    if not isinstance(metrics, dict) or not metrics.keys() >= StepMetrics.__required_keys__:
        raise UserError(f"{path / METRICS}: no metrics of a step; run the step's evaluation again")
    return metrics  # type: ignore[return-value]


def read_summary(steps: list[StepMetrics]) -> Summary:
    """metrics/summary.json, which git has; raises DamageError unless it is that of ``steps``."""
    summary = summarise(steps)
    if read_json(paths.SUMMARY) != summary:
        raise DamageError(f"{paths.SUMMARY}: not of the steps in {paths.evaluation(1).parent}")
    return summary


def check_summary(summary: Summary) -> None:
    """Raise DamageError for a summary that is not of its steps, if all are here; a clone may lack them."""
    folders = [paths.evaluation(int(step)) for step in summary["steps"]]
    if all(map(Path.exists, folders)):
        read_summary(list(map(_read, folders)))
